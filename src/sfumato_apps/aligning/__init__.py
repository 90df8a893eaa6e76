"""The parts of `sfumato align` and `reward`: plans, families of models, material, walks."""

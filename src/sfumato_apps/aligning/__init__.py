"""The parts of `sfumato align`: its plan, families of models, material, its walk."""

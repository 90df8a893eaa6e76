"""The parts of `sfumato align`: its plan, the families of models, its walk."""

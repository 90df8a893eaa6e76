"""The parts of `sfumato classifier`: its plan, its material, its walk."""

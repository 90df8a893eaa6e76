"""The parts of `sfumato latent`: its plan, its codec, its walk."""

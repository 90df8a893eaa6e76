"""The parts of `sfumato reward` and `sfumato discriminator`: one trainer, two things to learn."""

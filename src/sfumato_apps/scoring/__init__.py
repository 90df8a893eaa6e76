"""The parts of `reward train` and `discriminator train`: one trainer, two things to learn."""

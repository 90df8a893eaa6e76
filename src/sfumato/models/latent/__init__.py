"""Learnt parts of latent diffusion: codecs between tokens and vectors, and the score network."""

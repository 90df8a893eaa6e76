"""Learning a classifier of noisy vectors: what is told apart, and at which levels of noise."""

"""Learning from rankings: links, losses, likelihoods, the objective and its trainer."""

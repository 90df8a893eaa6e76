"""Learning a denoiser: the objective, the trainer on top of `transformers.Trainer`, its parts.

examples → compose → Objective.prepare (one draw for the global batch) → Objective → Trainer
"""

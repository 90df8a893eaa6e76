"""Learnt parts: encoders as denoisers, checkpoints, starting from scratch, probing, LoRA."""

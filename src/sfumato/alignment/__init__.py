"""Preferences: which of several texts is better, and how a model learns it.

candidates → scores → ranked sets → log-ratio(policy, reference) → link → loss → DiffusionTrainer
"""

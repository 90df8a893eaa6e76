"""Texts of models, judged: candidates, rankings, the frontier of aligned models."""

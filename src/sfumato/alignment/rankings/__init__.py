"""Ranked candidates: records, their sources, and batches of them."""

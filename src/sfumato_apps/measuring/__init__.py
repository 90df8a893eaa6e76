"""What `sfumato evaluate`, `sweep` and `tune` measure: a model, or a file of generated texts.

options.py   what is measured beside the usual, as options of the command
answers.py   files of generated texts with sources and references
texts.py     records of texts: alone, beside real ones, against their references
written.py   texts that a model writes
against.py   another report or another system's texts, and the differences
sweeping.py  the same prompts at several strengths of guidance
tuning.py    how many tokens may be written at once
"""

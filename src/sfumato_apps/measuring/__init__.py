"""What `sfumato evaluate` measures: a model's own texts, or a file of texts with what they answer.

options.py   what is measured beside the usual, as options of the command
answers.py   files of generated texts with sources and references
texts.py     records of texts: alone, beside real ones, against their references
written.py   texts that a model writes
against.py   another report or another system's texts, and the differences
"""

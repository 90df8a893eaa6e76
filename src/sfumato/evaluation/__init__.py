"""Text → numbers. A metric is a record: value, n, seed, reference, settings, standard error.

records.py       the record; refuses to compare what is not comparable
bounds.py        likelihood bounds, text by text
perplexity.py    the ELBO; perplexity under an autoregressive judge
diversity.py     of texts alone: distinct-n, div, repetition, entropy
loops.py         of texts alone: loops
reporting/       runs side by side as a page
"""

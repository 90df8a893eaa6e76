"""How like generated texts are to others: word by word, meaning by meaning, as a whole.

references.py      what texts are compared with, one or several a text
overlap.py         BLEU and ROUGE against references, self-BLEU among the texts
simplification.py  SARI: what was added, kept and deleted of a source
encodings.py       a local encoder's states: contextual ones, and one mean a text
semantics.py       BERTScore: greedy matching of contextual states
distribution.py    MAUVE: two sets of texts as two distributions over clusters
"""

"""Text in, text out: write, complete, rewrite, fill, edit, detox, fim, bridge, vary, interpolate.

    text ─▶ canvas ─▶ sample ─▶ frames ─▶ text, passes, trace
    [CLS] The cat ▒▒▒▒▒▒▒▒▒▒▒▒            write, complete, rewrite: a hole that may end anywhere
    [CLS] The ▒▒▒ sat on ▒▒▒▒▒▒ . [SEP]   fill, edit, detox: holes between locked text
    [CLS] The cat ▒▒▒▒▒▒ the mat. [SEP]   fim, bridge: one hole of free length

Every task is a canvas, and what is not editable comes back byte for byte. A sample depends on its
seed and not on what is written beside it.

    jobs.py       what every task shares: rows, the run, its policy
    results.py    what they return, the best first
    writing.py    write, complete, complete_each
    rewriting.py  rewrite
    streaming.py  write_each: any number of prompts, in a stream
    searching.py  search_each: the best of several runs, thinned out by a reward on the way
    filling.py    fill
    between.py    fim, bridge
    choosing.py   which words to change: surprise, attribution
    editing.py    edit
    detoxing.py   detox
    travelling.py vary, interpolate: through the space of a latent model
    belonging.py  whether a text belongs to a prompt, by a latent model
"""

from __future__ import annotations

from sfumato.sampling.tasks.belonging import DenoisingGain
from sfumato.sampling.tasks.between import bridge, fim
from sfumato.sampling.tasks.choosing import Attribution, PseudoLikelihood, Surprise
from sfumato.sampling.tasks.detoxing import Judge, detox, detox_each
from sfumato.sampling.tasks.editing import edit
from sfumato.sampling.tasks.filling import fill
from sfumato.sampling.tasks.jobs import LatentModel, Model, Policy, Writer, ban_texts, specials_of
from sfumato.sampling.tasks.results import Edit, Infill, best_first
from sfumato.sampling.tasks.rewriting import rewrite
from sfumato.sampling.tasks.searching import search_each
from sfumato.sampling.tasks.streaming import write_each
from sfumato.sampling.tasks.travelling import interpolate, vary
from sfumato.sampling.tasks.writing import complete, complete_each, write
from sfumato.sampling.trace import Sample

__all__ = [
    "Attribution",
    "DenoisingGain",
    "Edit",
    "Infill",
    "Judge",
    "LatentModel",
    "Model",
    "Policy",
    "PseudoLikelihood",
    "Sample",
    "Surprise",
    "Writer",
    "ban_texts",
    "best_first",
    "bridge",
    "complete",
    "complete_each",
    "detox",
    "detox_each",
    "edit",
    "fill",
    "fim",
    "interpolate",
    "rewrite",
    "search_each",
    "specials_of",
    "vary",
    "write",
    "write_each",
]

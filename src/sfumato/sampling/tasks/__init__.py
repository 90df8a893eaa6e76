"""Text in, text out: write, complete, fill, edit, detox, fim, bridge, rewrite.

    text ─▶ canvas ─▶ sample ─▶ frames ─▶ text, passes, trace
    [CLS] The cat ▒▒▒▒▒▒▒▒▒▒▒▒            write, complete, rewrite: a hole that may end anywhere
    [CLS] The ▒▒▒ sat on ▒▒▒▒▒▒ . [SEP]   fill, edit, detox: holes between locked text
    [CLS] The cat ▒▒▒▒▒▒ the mat. [SEP]   fim, bridge: one hole of free length

Every task is a canvas, and what is not editable comes back byte for byte. A sample depends on its
seed and not on what is written beside it.

    jobs.py       what every task shares: rows, the run, results, the best first
    writing.py    write, complete, complete_each, rewrite
    filling.py    fill
    between.py    fim, bridge
    choosing.py   which words to change: surprise, attribution
    editing.py    edit
    detoxing.py   detox
"""

from __future__ import annotations

from sfumato.sampling.tasks.between import bridge, fim
from sfumato.sampling.tasks.choosing import Attribution, PseudoLikelihood, Surprise
from sfumato.sampling.tasks.detoxing import Judge, detox, detox_each
from sfumato.sampling.tasks.editing import edit
from sfumato.sampling.tasks.filling import fill
from sfumato.sampling.tasks.jobs import (
    Edit,
    Infill,
    Model,
    Policy,
    ban_texts,
    best_first,
    specials_of,
)
from sfumato.sampling.tasks.writing import complete, complete_each, rewrite, write
from sfumato.sampling.trace import Sample

__all__ = [
    "Attribution",
    "Edit",
    "Infill",
    "Judge",
    "Model",
    "Policy",
    "PseudoLikelihood",
    "Sample",
    "Surprise",
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
    "rewrite",
    "specials_of",
    "write",
]

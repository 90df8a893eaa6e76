"""A long document with little to edit: the exact engine against one with a frozen context.

    python benchmarks/editing.py                   ModernBERT-base, random weights
    python benchmarks/editing.py --model FOLDER --text FILE   a trained checkpoint: agreement counts
    … --as-base                                    the same in the shape of ModernBERT-base
    python benchmarks/editing.py --quick           a small network, in seconds

16 positions of 512 in 16 passes, and 64 of 2,048 in 64, spread over the document. A frozen
context keeps what the encoder made of the untouched text and runs the edited positions only; it
is made anew every k passes, and with a reach, positions that are farther than it from what was
written last keep what they said. k = 1 is exact and must write the same tokens. LLaDA's sampler,
which reads and projects the whole canvas at every pass, writes too with `--peer`. All take turns
after every pass; seconds are CPU seconds on a CPU and seconds on the wall on a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from contest import Contestant, Spent, machine, race, ratio, table
from networks import Size, base, modernbert, never_special
from peers import llada
from torch import Tensor
from widening import widened

from sfumato.models.checkpoints import load
from sfumato.models.encoders import EncoderDenoiser
from sfumato.sampling import policies
from sfumato.sampling.frames import Specials
from sfumato.sampling.loop import FrozenContext, sample
from sfumato.sampling.tasks.jobs import specials_of
from sfumato.text.canvas import Canvas

PEER = "LLaDA, restated"
EXACT, EVERY = "exact", FrozenContext(refresh=1)
CONTEXTS = (
    EVERY,
    *(FrozenContext(refresh=passes) for passes in (4, 16, None)),
    *(FrozenContext(reach=reach) for reach in (256, 64)),
)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A document, and how much of it is written anew in as many passes."""

    length: int
    editable: int


EDITS = (Edit(length=512, editable=16), Edit(length=2048, editable=64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Editor:
    """A network that edits.

    Attributes:
        denoiser: exact.
        specials: its ids.
        text: tokens to cut documents from; empty for random ones.
        peer: let LLaDA's sampler write too.
    """

    denoiser: EncoderDenoiser
    specials: Specials
    text: Sequence[int]
    peer: bool = False

    def document(self, edit: Edit, seed: int) -> Canvas:
        """A stretch of text with masks at random places, or all of it random.

        Raises:
            SystemExit: the text is shorter than the document.
        """
        noise = torch.Generator().manual_seed(seed)
        if self.text:
            room = len(self.text) - edit.length
            if room < 0:
                raise SystemExit(
                    f"the text has {len(self.text)} tokens, fewer than {edit.length}: give more"
                )
            start = int(torch.randint(0, room + 1, (1,), generator=noise))
            ids = torch.tensor([self.text[start : start + edit.length]])
        else:
            ids = torch.randint(0, self.specials.eos, (1, edit.length), generator=noise)
        editable = torch.zeros_like(ids, dtype=torch.bool)
        editable[0, torch.randperm(edit.length, generator=noise)[: edit.editable]] = True
        return Canvas(
            ids=ids.masked_fill(editable, self.specials.mask),
            editable=editable,
            attend=torch.ones_like(editable),
            optional=torch.zeros_like(editable),
        )


def written(
    editor: Editor, canvas: Canvas, edit: Edit, context: FrozenContext | None
) -> Iterator[Tensor]:
    """The greedy edit, one token a pass; every run has a context of its own."""
    policy = replace(policies.llada(steps=edit.editable, block=None), context=context)
    frames = sample(editor.denoiser, canvas, policy, editor.specials)
    next(frames)
    yield from (frame.ids for frame in frames)


def name_of(context: FrozenContext) -> str:
    """As the table says it."""
    often = "never anew" if context.refresh is None else f"anew every {context.refresh}"
    return f"frozen, {often}" + ("" if context.reach is None else f", reach {context.reach}")


def contestants(
    editor: Editor, canvas: Canvas, edit: Edit, contexts: Sequence[FrozenContext]
) -> list[Contestant]:
    """The exact engine, and frozen contexts."""
    runs = {EXACT: partial(written, editor, canvas, edit, None)}
    for context in contexts:
        runs[name_of(context)] = partial(written, editor, canvas, edit, context)
    if editor.peer:
        network, mask = editor.denoiser.network, editor.specials.mask
        runs[PEER] = partial(llada.fill, network, canvas.ids, steps=edit.editable, mask=mask)
    return [
        Contestant(
            name=name,
            run=run,
            module=editor.denoiser,
            against=EXACT,
            law="",
            exact=name == name_of(EVERY),
            answers=list,
        )
        for name, run in runs.items()
    ]


def measure(
    editor: Editor, edit: Edit, contexts: Sequence[FrozenContext], repeats: int, device: str
) -> list[dict[str, Any]]:
    """One row an engine: seconds, ratio and agreement, over documents that differ."""
    clock, spent = "cpu" if device == "cpu" else "wall", defaultdict[str, list[Spent]](list)
    same = defaultdict[str, list[float]](list)
    for repeat in range(repeats):
        canvas = editor.document(edit, seed=repeat).to(device)
        race(contestants(editor, canvas, edit, contexts), turns=1 if repeat == 0 else 0)
        outcomes = race(contestants(editor, canvas, edit, contexts))
        for outcome in outcomes:
            equal = outcome.canvas[canvas.editable] == outcomes[0].canvas[canvas.editable]
            same[outcome.name].append(float(equal.double().mean()))
            spent[outcome.name].append(outcome.total)
    return [
        {
            "engine": name,
            "seconds": median(getattr(one, clock) for one in times),
            "times faster": getattr(ratio(spent[EXACT], times), clock),
            "agreement": sum(same[name]) / repeats,
        }
        for name, times in spent.items()
    ]


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """A table with one row an engine."""
    cells = [
        [
            row["engine"],
            f"{row['seconds']:.2f}",
            f"{row['times faster']:.2f} ×",
            f"{row['agreement']:.1%}",
        ]
        for row in rows
    ]
    return table(["engine", "seconds", "faster", "same tokens"], cells)


def editor_of(options: argparse.Namespace) -> Editor:
    """A trained checkpoint if a folder is given, else a network of random weights."""
    if options.model:
        model = load(options.model)
        text = options.text.read_text(encoding="utf-8") if options.text else ""
        denoiser, ids = model.denoiser, model.vocabulary.encode(text)
        if options.as_base:
            network = widened(denoiser.network, base(50_368))
            denoiser = EncoderDenoiser(network, mask=model.vocabulary.mask)
        return Editor(
            denoiser=denoiser.to(options.device).eval(),
            specials=specials_of(model.vocabulary),
            text=ids,
            peer=options.peer,
        )
    size = base(50_368)
    if options.quick:
        size = Size(name="tiny", vocabulary=500, width=32, layers=2, heads=2, inner=48)
    network = modernbert(size)
    never_special(network, size.specials)
    denoiser = EncoderDenoiser(network, mask=size.specials.mask)
    return Editor(
        denoiser=denoiser.to(options.device).eval(),
        specials=size.specials,
        text=(),
        peer=options.peer,
    )


def main(given: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small network, in seconds")
    parser.add_argument("--model", type=Path, help="a folder that `sfumato train` wrote")
    parser.add_argument("--text", type=Path, help="documents to edit, with --model")
    parser.add_argument("--as-base", action="store_true", help="grow the model to that size")
    parser.add_argument("--peer", action="store_true", help="beside LLaDA's sampler")
    parser.add_argument("--repeats", type=int, default=3, help="documents of each length")
    parser.add_argument("--refresh", type=int, nargs="+", help="passes; 0 for never")
    parser.add_argument("--reach", type=int, nargs="+", help="positions, where never made anew")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(given)
    if options.model and not options.text:
        parser.error("--model needs --text: agreement on random tokens says nothing")
    torch.set_num_threads(options.threads)
    described, editor = machine(), editor_of(options)
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    contexts = [
        *(FrozenContext(refresh=one or None) for one in options.refresh or ()),
        *(FrozenContext(reach=one) for one in options.reach or ()),
    ] or CONTEXTS
    edits = (Edit(length=32, editable=4),) if options.quick else EDITS
    bound = editor.denoiser.max_length
    edits = tuple(edit for edit in edits if bound is None or edit.length <= bound)
    figures: dict[str, Any] = {"machine": described, "edits": []}
    for edit in edits:
        rows = measure(editor, edit, contexts, options.repeats, options.device)
        print(f"\n{edit.editable} of {edit.length:,} tokens\n\n{shown(rows)}", flush=True)
        figures["edits"].append({"edit": vars(edit), "rows": rows})
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    every = [row for part in figures["edits"] for row in part["rows"]]
    return int(any(row["engine"] == name_of(EVERY) and row["agreement"] < 1 for row in every))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

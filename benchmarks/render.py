"""Figures of `engine.py` and `editing.py` as tables and plots of docs/performance.md.

    python benchmarks/engine.py --json engine.json
    python benchmarks/editing.py --json editing.json
    python benchmarks/render.py --engine engine.json --editing editing.json

Whatever stands between `<!-- engine -->` and `<!-- /engine -->`, and between `<!-- editing -->` and
`<!-- /editing -->`, is replaced; the plots go to `_static` beside the page.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import contests
import editing
from contest import table
from limits import KINDS

from sfumato.evaluation.reporting import svg

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PROBLEMS = ("one", "vocabulary", "batch")
Figures = Mapping[str, Any]
Save = Callable[[str, str], str]


def described(machine: Figures) -> str:
    """A sentence on where the figures come from."""
    where = machine["cpu"] if machine.get("gpu", "none") == "none" else machine["gpu"]
    return (
        f"Machine: {where}, {machine['threads']} of {machine['cores']} cores, load "
        f"{machine['load']} at the start, Python {machine['python']}, torch {machine['torch']}, "
        f"transformers {machine['transformers']}"
        + (f", {machine['device']}, {machine['dtype']}." if "device" in machine else ".")
    )


def engine(figures: Figures, save: Save) -> str:
    """The part of the page that `engine.py` measures."""
    parts = [described(figures["machine"])]
    for part in PROBLEMS:
        if part in figures:
            parts += writing(part, figures[part], save)
    if "growth" in figures:
        parts += grown(figures["growth"], save)
    if "limit" in figures:
        parts += reached(figures["limit"], save)
    return "\n\n".join(parts)


def writing(part: str, found: Figures, save: Save) -> list[str]:
    """The contest of one problem: a plot of tokens per second and a table of all."""
    name = found["problem"]["name"]
    bars = [
        svg.Bar(
            label=f"{row['sampler']}, T = {row['temperature']:g}",
            value=row["tokens per second"],
            hue=0 if row["sampler"].startswith("sfumato") else 1,
        )
        for row in found["rows"]
    ]
    title = f"Tokens per second, {name}"
    path = save(f"engine-{part}", svg.bars(bars, title=title))
    held = [f"- {claim}: {value:.2f}" for claim, value in found["claims"].items()]
    table = contests.shown(found["rows"])
    return [f"### {name}", f"![{title}]({path})", table, "\n".join(held)]


def grown(found: Figures, save: Save) -> list[str]:
    """A plot for each sweep, and a table of the exponents."""
    parts = ["### What a pass costs as it grows"]
    for number, (what, series) in enumerate(found.items()):
        lines = [
            svg.Series(label=name, x=one["x"], y=[1000 * y for y in one["y"]])
            for name, one in series.items()
        ]
        title = f"Milliseconds of a pass by {what}"
        plot = svg.lines(lines, title=title, x_label=what, y_label="ms")
        parts.append(f"![{title}]({save(f'engine-growth-{number}', plot)})")
    names = dict.fromkeys(name for series in found.values() for name in series)
    rows = [[name, *(f"{found[what][name]['exponent']:.2f}" for what in found)] for name in names]
    parts.append("The exponent p of the fit y ∝ x^p:")
    parts.append(table(["sampler", *found], rows))
    return parts


def reached(found: Figures, save: Save) -> list[str]:
    """The machine's limits, and the shares of them by size."""
    machine, sizes = found["machine"], found["sizes"]
    bars = [
        svg.Bar(
            label=f"{size}: {who}",
            value=one["seconds"][f"{who} floor"] / one["seconds"][who],
            hue=hue,
        )
        for size, one in sizes.items()
        for hue, who in enumerate(("sfumato", "encoder"))
    ]
    title = "Floor of the same work over the time of a pass"
    path = save("engine-limit", svg.bars(bars, title=title))
    rows = [
        [
            size,
            *(f"{1000 * one['seconds'][who]:.1f}" for who in ("encoder", "sfumato")),
            f"{one['seconds']['encoder'] / one['seconds']['sfumato']:.0%}",
            f"{one['seconds']['in the network']:.1%}",
            *(f"{share:.0%}" for share in one["shares"].values()),
        ]
        for size, one in sizes.items()
    ]
    head = ["size", "the encoder alone, ms", "sfumato, ms", "the first over the second"]
    head += ["inside the network", *KINDS, "all else"]
    limit = (
        f"The fastest matrix product measured is {machine['product'] / 1e9:.0f} GFLOP/s "
        f"({machine['kernel']}), the fastest pass over memory "
        f"{machine['bandwidth'] / 1e9:.1f} GB/s. The encoder alone is transformers' body on "
        "the same canvas, without a head and without a sampler."
    )
    return ["### How near to the machine's limit", limit, f"![{title}]({path})", table(head, rows)]


def edited(figures: Figures, save: Save) -> str:
    """The part of the page that `editing.py` measures."""
    parts = [described(figures["machine"])]
    for found in figures["edits"]:
        edit = found["edit"]
        parts.append(f"{edit['editable']} of {edit['length']:,} tokens:")
        parts.append(editing.shown(found["rows"]))
    return "\n\n".join(parts)


def replaced(page: str, name: str, text: str) -> str:
    """A page with new text between the two marks of a name.

    Raises:
        SystemExit: the page lacks one of them.
    """
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if first not in page or last not in page:
        raise SystemExit(f"the page needs the lines {first.strip()} and {last}")
    before, rest = page.split(first, 1)
    return f"{before}{first}\n{text}\n\n{last}{rest.split(last, 1)[1]}"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", type=Path, help="figures of engine.py")
    parser.add_argument("--editing", type=Path, help="figures of editing.py")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(given)

    def save(name: str, plot: str) -> str:
        path = options.page.parent / "_static" / f"{name}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(svg.standalone(plot) + "\n", encoding="utf-8")
        return f"_static/{name}.svg"

    page = options.page.read_text(encoding="utf-8")
    for name, file, part in (
        ("engine", options.engine, engine),
        ("editing", options.editing, edited),
    ):
        if file is not None:
            page = replaced(page, name, part(json.loads(file.read_text()), save))
    options.page.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

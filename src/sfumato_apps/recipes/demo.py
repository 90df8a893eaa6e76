"""`sfumato demo`: the shipped model writes, fills and rewrites, offline, in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfumato.sampling.tasks import Sample

PROMPTS = (("The Golden Curry is", 24), ("Near the river,", 28), ("Ты не", 6))
HOLES = "The Wrestlers is {8} food. It is {} near Raja Indian Cuisine."
SPAN = (
    "Cotto is a coffee shop that ",
    "has no food at all",
    " in the riverside area, near The Portland Arms.",
)


def demo(
    *, out: Path = Path("demo"), model: str | None = None, seed: int = 5, open: bool = False
) -> None:
    """Writes three texts, fills two holes, rewrites a span; then a page that plays it all.

    $ sfumato demo --out demo
    $ sfumato demo --open

    Args:
        out: Folder for demo.html.
        model: Folder or hub name; the shipped model if left out.
        seed: Seed of the texts.
        open: Instead, start the server and open its studio in the browser; Ctrl-C ends it.
    """
    if open:
        _studio(model)
    else:
        _play(out, model, seed)


def _studio(model: str | None) -> None:
    """Serves on a port that is free, and opens the page as soon as it is there."""
    import socket
    from threading import Thread

    from sfumato_apps.recipes.serve import serve

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    Thread(target=_show, args=(port,), daemon=True).start()
    serve(model=model, port=port)


def _show(port: int) -> None:
    """Waits for the server and opens the browser."""
    import socket
    import time
    import webbrowser

    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    webbrowser.open(f"http://127.0.0.1:{port}/")


def _play(out: Path, model: str | None, seed: int) -> None:
    """Writes, prints and makes the page."""
    import sys

    from rich.console import Console

    from sfumato.sampling.tasks import fill, write
    from sfumato.sampling.tasks.writing import BLOCK
    from sfumato_apps.choices import Decoding
    from sfumato_apps.player import player_page
    from sfumato_apps.policies import open_model, policy_of

    console = Console(highlight=False, soft_wrap=True)
    opened = open_model(model)
    usual = Decoding(temperature=0.5, top_p=0.95)
    writing, filling = policy_of(opened, usual, block=BLOCK), policy_of(opened, usual)
    samples = []
    console.print("[bold]Three texts from noise[/bold]")
    for prompt, length in PROMPTS:
        (sample,) = write(opened, prompt=prompt, length=length, policy=writing, seed=seed)
        samples.append(sample)
        console.print(f"  {sample.text}", markup=False)
        console.print(f"  {_passes(sample)}", style="dim")
    console.print("\n[bold]Two holes filled[/bold]")
    console.print(f"  {HOLES}", markup=False, style="dim")
    (sample,) = fill(opened, HOLES, policy=filling, seed=seed)
    samples.append(sample)
    console.print(f"  {sample.text}", markup=False)
    console.print(f"  {_passes(sample)}", style="dim")
    before, span, after = SPAN
    console.print("\n[bold]A span rewritten, the rest untouched[/bold]")
    console.print(f"  {before}[underline]{span}[/underline]{after}", style="dim")
    (sample,) = fill(opened, f"{before}{{6}}{after}", policy=filling, seed=seed)
    samples.append(sample)
    console.print(f"  {sample.text}", markup=False)
    console.print(f"  {_passes(sample)}", style="dim")
    out.mkdir(parents=True, exist_ok=True)
    page = out / "demo.html"
    traces = [one.trace for one in samples]
    page.write_text(player_page(traces, title="sfumato"), encoding="utf-8")
    print(f"\nwatch them emerge: {page}", file=sys.stderr)


def _passes(sample: Sample) -> str:
    return f"{sample.passes} forward passes, seed {sample.seed}"

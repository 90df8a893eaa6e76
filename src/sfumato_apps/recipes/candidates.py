"""`sfumato candidates`: several texts for each prompt, to be ranked."""

from __future__ import annotations

from pathlib import Path


def candidates(
    *,
    out: Path,
    model: str | None = None,
    prompts: list[str] | None = None,
    sets: int | None = None,
    n: int = 8,
    temperatures: list[float] | None = None,
    step_counts: list[int] | None = None,
    length: int | None = None,
    search: list[str] | None = None,
    beams: int = 8,
    keep: int = 2,
    every: int = 4,
    prefix: str | None = None,
    bias: list[str] | None = None,
    batch: int = 8,
    seed: int = 0,
) -> None:
    """Writes several texts for each prompt, in several ways, into a file of JSON lines.

    Each line holds a prompt, its completions, which way each was written and how many passes of the
    network it took. The same command goes on after Ctrl-C. Under `accelerate launch` the processes
    share the prompts out.

    $ sfumato candidates --model my-model --prompts prompts.jsonl --out candidates.jsonl
    $ sfumato candidates --sets 100 --n 4 --temperatures 0.7 --temperatures 1.0 --out c.jsonl
    $ sfumato candidates --sets 100 --search pattern:cheap --prefix "Cheap: " --out c.jsonl

    Args:
        out: Where the candidates go, as JSON lines.
        model: Folder or hub name, of any family; the package's small model if left out.
        prompts: Files with a prompt a row: `prompt` (a text or turns), or what is asked in any
            other form of training data.
        sets: Without prompts: how many sets of texts to write freely.
        n: Texts for each prompt and way.
        temperatures: Of the draws; each with each step count is a way. By default 1.
        step_counts: Denoising steps, for diffusion models; by default as `sfumato write` takes.
        length: The most tokens of a text.
        search: Rewards, as `sfumato rank --by` takes them; adds a way in which several runs of a
            text are judged while they are written, and the best go on in place of the others.
        beams: Runs of a text in a search.
        keep: Runs that go on after each judgement; as many as there are is best-of-n.
        every: Steps between judgements; tokens, for an autoregressive model.
        prefix: Adds a way in which this text stands before each prompt.
        bias: Adds a way in which words are likelier by so many nats: word=2.0, or word=-2.0.
        batch: Prompts worked off together.
        seed: Seed of all texts.
    """
    from sfumato_apps.judging.candidates import CandidatePlan, follow
    from sfumato_apps.judging.ways import WayPlan

    ways = WayPlan(
        model=model,
        temperatures=temperatures,
        step_counts=step_counts,
        length=length,
        search=search,
        beams=beams,
        keep=keep,
        every=every,
        prefix=prefix,
        bias=bias,
    )
    follow(
        CandidatePlan(out=out, prompts=prompts, sets=sets, n=n, ways=ways, batch=batch, seed=seed)
    )

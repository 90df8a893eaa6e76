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
    batch: int = 8,
    seed: int = 0,
) -> None:
    """Writes several texts for each prompt, in several ways, into a file of JSON lines.

    Each line holds a prompt, its completions and which way each was written. The same command goes
    on after Ctrl-C. Under `accelerate launch` the processes share the prompts out.

    $ sfumato candidates --model my-model --prompts prompts.jsonl --out candidates.jsonl
    $ sfumato candidates --sets 100 --n 4 --temperatures 0.7 --temperatures 1.0 --out c.jsonl

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
        batch: Prompts worked off together.
        seed: Seed of all texts.
    """
    options = dict(locals())
    from sfumato_apps.judging.candidates import CandidatePlan, follow

    follow(CandidatePlan(**options))

"""Names on the command line → parts of the library, parsed once, here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sfumato.errors import DataError, UsageError

if TYPE_CHECKING:
    from sfumato.models.checkpoints import Checkpoint
    from sfumato.models.latent.storage import LatentCheckpoint
    from sfumato.protocols import Scorer
    from sfumato.text.words import Span

DEVICE, WEIGHTS = "SFUMATO_DEVICE", "SFUMATO_WEIGHTS"  # what --device and --weights set
OrderName = Literal["max_prob", "margin", "entropy", "random", "left_to_right", "sampled_prob"]
SolverName = Literal["ddim", "ddpm", "euler", "euler-maruyama", "heun", "dpm-solver", "renoise"]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How texts are written.

    Attributes:
        steps: Denoising steps, by default 64, and 20 for a latent model; with as many steps as
            slots, one token is written at a time.
        order: Which positions go first.
        temperature: 0 takes the likeliest token, 1 draws as the model believes.
        top_k: Draw among this many likeliest tokens.
        top_p: Draw among the likeliest tokens that hold this much probability.
        threshold: Write every token that is at least this sure, instead of a fixed number.
        block: Write from left to right in blocks of this many tokens; 0 works on the whole canvas.
        no_repeat: Forbid token sequences of this length to come twice; 0 allows every repetition.
            By default text written freely must not loop.
        refresh: Read the text around again only every so many passes, 0 for never: faster where
            a little is written into much, and not exact; 1 is.
        reach: With --refresh, decide anew only what stands at most so many tokens from what was
            just written; by default everything that is open.
        solver: How a latent model walks back from noise; dpm-solver by default.
        tuned: A file of `sfumato tune`, which says how many tokens to write at once, and in
            which order; instead of --steps, --threshold and --order.
    """

    steps: int | None = None
    order: OrderName = "max_prob"
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    threshold: float | None = None
    block: int | None = None
    no_repeat: int | None = None
    refresh: int | None = None
    reach: int | None = None
    solver: SolverName | None = None
    tuned: Path | None = None


TALKING = Decoding(steps=128, temperature=0.7, top_p=0.95, block=32)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """How many, from which seed, in which order.

    Attributes:
        n: How many ways to write it.
        seed: Seed of the first; the next ones count on from it.
        rank: Best first, by: likelihood, consensus (what the other candidates say too), a word
            list FILE.txt, or a classifier FOLDER_OR_HUB_NAME@LABEL; with less: before it, the
            lowest score first.
    """

    n: int = 1
    seed: int = 0
    rank: str | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How texts are handed over.

    Attributes:
        json: Print JSON lines with text, seed and passes.
        trace: Write every step of the first text to this file (JSON lines).
        page: Write a page that plays how the texts emerged.
    """

    json: bool = False
    trace: Path | None = None
    page: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What judges words and texts.

    Attributes:
        scorer: Folder or hub name of a text classifier of transformers.
        label: The label of the classifier that is scored.
        words: A file with one word or phrase a line; the score is the share of words on it.
    """

    scorer: str | None = None
    label: str | None = None
    words: Path | None = None


def scorer_of(name: str | None, model: Checkpoint | LatentCheckpoint) -> Scorer | None:
    """A scorer from its name on the command line; None for None.

    `likelihood` is the model's own pseudo-likelihood, `consensus` what a candidate has in common
    with the others, `FILE.txt` the share of words on a list,
    `FOLDER@LABEL` the probability of a classifier's label; `less:` before any of them turns it
    round.

    Raises:
        UsageError: a name of none of these forms.
        DataError: a word list that cannot be read.
    """
    from sfumato.models.latent.storage import LatentCheckpoint
    from sfumato.models.scorers import classifier, consensus
    from sfumato.sampling.tasks import PseudoLikelihood

    if name is None:
        return None
    if name.startswith("less:"):
        more = scorer_of(name.removeprefix("less:"), model)
        return None if more is None else lambda texts: [-score for score in more(texts)]
    if name == "consensus":
        return consensus
    if name == "likelihood":
        if isinstance(model, LatentCheckpoint):
            raise UsageError("--rank likelihood: only models of masked noise judge so")
        return PseudoLikelihood(model=model)
    if name.endswith(".txt"):
        return listed_words(Path(name))
    folder, at, label = name.rpartition("@")
    if not at or not folder:
        raise UsageError(
            f"{name!r} names no scorer: expected likelihood, consensus, a word list FILE.txt, or "
            "a classifier FOLDER_OR_HUB_NAME@LABEL, perhaps with less: before it"
        )
    return classifier(folder, label=label)


def listed_words(path: Path) -> Scorer:
    """A scorer from a file with one word or phrase a line.

    Raises:
        DataError: the file cannot be read.
    """
    from sfumato.models.scorers import word_list

    try:
        return word_list(path.read_text(encoding="utf-8-sig").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected a file with one word or phrase a line: {error}"
        ) from error


def judged_by(scoring: Scoring) -> Scorer | None:
    """The scorer of `--scorer` with `--label`, or of `--words`; None without either.

    Raises:
        UsageError: both are given, or a scorer without a label.
    """
    from sfumato.models.scorers import classifier

    if scoring.words is not None:
        if scoring.scorer is not None:
            raise UsageError("give --scorer or --words, not both")
        return listed_words(scoring.words)
    if scoring.scorer is None:
        return None
    if scoring.label is None:
        raise UsageError(f"--scorer {scoring.scorer} needs --label, the label to score")
    return classifier(scoring.scorer, label=scoring.label)


def budget_of(text: str) -> int | float:
    """A number of words, such as 2, or a share of them, such as 0.2 or 20%.

    Raises:
        UsageError: it is neither.

    Example:
        >>> budget_of("2"), budget_of("0.2"), budget_of("20%")
        (2, 0.2, 0.2)
    """
    try:
        if text.strip().isdecimal():
            return int(text)
        share = float(text.strip().removesuffix("%"))
        return share / 100 if text.strip().endswith("%") else share
    except ValueError:
        raise UsageError(
            f"--budget {text}: expected words, such as 2, or a share, such as 0.2 or 20%"
        ) from None


def spans_in(text: str, names: Sequence[str]) -> list[Span]:
    """Spans from START:STOP in characters, or from phrases, each where it stands in the text.

    Raises:
        UsageError: a phrase that is not in the text.

    Example:
        >>> spans_in("a bad cat", ["bad", "9:9"])
        [(2, 5), (9, 9)]
    """
    from sfumato.text.spans import spans_of

    found: list[Span] = []
    for name in names:
        start, colon, stop = name.partition(":")
        if colon and start.isdecimal() and stop.isdecimal():
            found.append((int(start), int(stop)))
            continue
        places = spans_of(text, name)
        if not places:
            raise UsageError(
                f"--span {name!r} is not in the text as whole words: expected a phrase of it, or "
                "START:STOP in characters"
            )
        found += places
    return found


def prompt_of_pair(text: str, joint: str | None = None) -> str:
    r"""What a model of pairs reads before the answer to a text.

    Args:
        text: the first half of the pair.
        joint: what stands between the halves, \n for a line break; if not given, a space where
            the text does not end in white space, as files with two fields are read.

    Example:
        >>> prompt_of_pair("he go"), prompt_of_pair("he go", r"\n")
        ('he go ', 'he go\n')
    """
    if joint is None:
        return text if text[-1:].isspace() else f"{text} "
    return text + joint.replace("\\n", "\n")


def text_of(text: str) -> str:
    """The text, from standard input if it is a dash."""
    return sys.stdin.read() if text == "-" else text

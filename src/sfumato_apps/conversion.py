"""What `sfumato convert` asks before it trains: can this encoder be turned into one that writes?"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from sfumato.errors import ModelError
from sfumato.models.checkpoints import Checkpoint
from sfumato.models.probe import ProbeReport, probe
from sfumato.models.storage.folders import locate
from sfumato.text.languages import UNKNOWN, language_of

_ENOUGH = 8


def check_convertible(
    model: str, learnt: Sequence[str], texts: int, *, force: bool, seed: int
) -> ProbeReport:
    """Probes an encoder on what it is to learn.

    Args:
        model: folder or hub name.
        learnt: the texts that it is to write.
        texts: how many of them to measure on.
        force: go on whatever the probe says.
        seed: of the choice of the texts and of the masks.

    Raises:
        ModelError: the encoder cannot be converted, and `force` is off.
    """
    report = probe(model, _some(learnt, texts, seed), seed=seed)
    if not report.convertible and not force:
        raise ModelError(f"{report.summary}. --force converts it all the same")
    return report


def foreign_languages(
    start: Checkpoint, learnt: Sequence[str], texts: int, *, seed: int
) -> dict[str, str]:
    """Languages of the data in which a model predicts no better than token frequencies, and why.

    A language with a few texts only is not judged.
    """
    by_language: dict[str, list[str]] = {}
    for text in _some(learnt, 8 * texts, seed):
        by_language.setdefault(language_of(text), []).append(text)
    by_language.pop(UNKNOWN, None)
    found = {}
    for language, group in sorted(by_language.items()):
        if len(group) >= _ENOUGH:
            report = probe(start, group[:texts], seed=seed)
            if not report.convertible:
                found[language] = "; ".join(finding.text for finding in report.findings)
    return found


def licence_of(model: str) -> str:
    """The licence that the card of a model names; "unknown" if it names none."""
    card = locate(model) / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, flags=re.DOTALL)
    found = re.search(r"^license: *(\S+)", front[1], flags=re.MULTILINE) if front else None
    return found[1].strip("\"'") if found else "unknown"


def _some(texts: Sequence[str], most: int, seed: int) -> list[str]:
    return random.Random(seed).sample(list(texts), min(most, len(texts)))

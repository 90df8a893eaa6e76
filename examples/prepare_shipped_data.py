"""Prepares the text of the shipped model from two public corpora.

    python examples/prepare_shipped_data.py E2E.jsonl CHANGE_PERSON.jsonl OUT_FOLDER

* E2E NLG challenge (CC BY-SA 4.0): restaurant descriptions, `{"mr": {...}, "text": ...}`.
* Koziev's NLP_Datasets, ChangePerson (CC0): short Russian sentences, `{"src": ..., "trg": ...}`.

The corpora are tokenised; here punctuation moves back to its word. One twentieth of the
restaurants' meaning representations and of the Russian pairs, chosen by hash, is kept for
validation, so that no validation text paraphrases a training text.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_RULES = [
    (re.compile(r"\s+([,.;:!?%)\]])"), r"\1"),
    (re.compile(r"([(\[£$])\s+"), r"\1"),
    (re.compile(r"(\w)\s+-\s+(\w)"), r"\1-\2"),
    (re.compile(r"\s+('s|n't|'re|'ve|'ll|'d|'m)\b"), r"\1"),
    (re.compile(r"\s+"), " "),
]


def detokenise(text: str) -> str:
    """Moves punctuation back to the word that it belongs to."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = text.strip()
    return text[:1].upper() + text[1:]


def held_out(key: str) -> bool:
    """One key in twenty, the same on every machine."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 20 == 0


def restaurants(path: Path) -> Iterator[tuple[str, str]]:
    """Yields a meaning representation as a key and its description."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            yield json.dumps(record["mr"], sort_keys=True), detokenise(record["text"])


def sentences(path: Path) -> Iterator[tuple[str, str]]:
    """Yields both sides of each Russian pair under the pair's key."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            for side in ("src", "trg"):
                yield record["src"], detokenise(record[side])


def main(restaurant_file: Path, sentence_file: Path, folder: Path) -> None:
    """Writes `{restaurants,russian}.{train,valid}.jsonl` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in (
        ("restaurants", restaurants(restaurant_file)),
        ("russian", sentences(sentence_file)),
    ):
        texts: dict[bool, dict[str, None]] = {False: {}, True: {}}
        for key, text in pairs:
            texts[held_out(key)][text] = None
        for split, held in (("train", False), ("valid", True)):
            kept = [text for text in texts[held] if held or text not in texts[True]]
            lines = [json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in kept]
            (folder / f"{name}.{split}.jsonl").write_text("".join(lines), encoding="utf-8")
            print(f"{name}.{split}: {len(kept)} texts")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))

"""Prepares the text of the shipped model from two public corpora.

    python examples/prepare_shipped_data.py E2E.jsonl TINYSTORIES_RU.jsonl OUT_FOLDER

* E2E NLG challenge (CC BY-SA 4.0): restaurant descriptions, `{"mr": {...}, "text": ...}`. They
  are tokenised; here punctuation moves back to its word.
* TinyStories-ru (Apache-2.0): Russian stories for children, `{"text": ...}`. Kept is how a story
  begins: the first sentences of its first paragraph, at most 180 characters.

One twentieth of the restaurants' meaning representations and of the openings, chosen by hash,
is kept for validation, so that no validation text describes a restaurant seen in training.
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
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+")
_RUSSIAN = re.compile(r"[А-ЯЁ][^A-Za-z*#_]{20,220}")


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


def openings(path: Path, limit: int = 180) -> Iterator[tuple[str, str]]:
    """Yields how each story begins, twice: as a key and as a text."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            paragraph = " ".join(json.loads(line)["text"].strip().split("\n")[0].split())
            text = ""
            for sentence in _SENTENCE_END.split(paragraph):
                if text and len(text) + len(sentence) > limit:
                    break
                text = f"{text} {sentence}".strip()
            if _RUSSIAN.fullmatch(text):
                yield text, text


def main(restaurant_file: Path, story_file: Path, folder: Path) -> None:
    """Writes `{restaurants,stories}.{train,valid}.jsonl` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in (
        ("restaurants", restaurants(restaurant_file)),
        ("stories", openings(story_file)),
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

"""What a file of results was made with: kept beside it, and compared before it is gone on with.

texts.jsonl        half of the lines
texts.jsonl.run    {"model": "6f1c…", "temperature": 0.7, …}     another model or option: refused
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from sfumato.errors import UsageError
from sfumato.models.checkpoints import SHIPPED
from sfumato.models.storage.durable import digest_of, write_text
from sfumato.models.storage.folders import locate
from sfumato.models.storage.settings import SETTINGS

_OF_A_MODEL = ("*.safetensors", "*config.json", "tokenizer.json", "model_index.json")
_DIGEST = re.compile("[0-9a-f]{64}")
_SHOWN = 12  # characters of a digest: enough to tell two apart


def beside(file: Path) -> Path:
    """Where it is kept what a file was made with.

    Example:
        >>> beside(Path("out/texts.jsonl")).name
        'texts.jsonl.run'
    """
    return file.with_name(f"{file.name}.run")


def digest_of_model(name: str | None) -> str:
    """A digest of a model: of its settings, which hold those of all files, or of the files.

    What else stands in its folder, such as a file of `sfumato tune`, does not count.

    Args:
        name: folder or hub name; the shipped model if None. A pipeline of images has its files in
            folders of the folder.
    """
    folder = SHIPPED if name is None else locate(name)
    settings = folder / SETTINGS
    if settings.is_file():
        return digest_of(settings)
    files = [file for pattern in _OF_A_MODEL for file in sorted(folder.rglob(pattern))]
    return hashlib.sha256("".join(map(digest_of, files)).encode()).hexdigest()


def fingerprint(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as JSON: blocks of options one by one, files by their content.

    Example:
        >>> from sfumato_apps.choices import Candidates
        >>> fingerprint({"length": 8, "candidates": Candidates(seed=3)})
        {'length': 8, 'n': 1, 'seed': 3, 'rank': None}
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if is_dataclass(value) and not isinstance(value, type):
            found |= fingerprint(asdict(value))
        else:
            found[name] = digest_of(value) if isinstance(value, Path) else value
    return found


def claim(file: Path, made: Mapping[str, Any]) -> None:
    """Keeps what a file is made with, or compares it with what was kept.

    A file with lines that has nothing beside it is taken as it is.

    Raises:
        UsageError: it was begun with another model or other options.
    """
    path = beside(file)
    if file.stat().st_size and path.is_file():
        kept = _read(path)
        changed = [name for name in made if kept.get(name) != made[name]]
        if changed:
            said = ", ".join(_change(name, kept.get(name), made[name]) for name in changed)
            raise UsageError(
                f"{file} was begun with {said}: give what it was begun with, or write to another "
                "file"
            )
        return
    write_text(path, json.dumps(made, ensure_ascii=False) + "\n")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        kept = None
    if not isinstance(kept, dict):
        raise UsageError(f"{path} says nothing of what was begun: write to another file")
    return kept


def _change(name: str, before: object, now: object) -> str:
    both = f"{short(before)}, not {short(now)}"
    return f"another model ({both})" if name == "model" else f"{name} {both}"


def short(value: object) -> object:
    """A digest by its beginning, anything else as it is.

    Example:
        >>> short("ab" * 32), short(0.7)
        ('abababababab', 0.7)
    """
    return value[:_SHOWN] if isinstance(value, str) and _DIGEST.fullmatch(value) else value

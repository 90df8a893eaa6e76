"""`sfumato.json`, what makes a folder of transformers a diffusion model, and the model card."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import sfumato
from sfumato.errors import ModelError, UsageError
from sfumato.models.storage.durable import digest_of
from sfumato.models.storage.folders import first_line, read_json
from sfumato.noise import gaussian, log_snr, schedules
from sfumato.noise.gaussian import GaussianProcess
from sfumato.noise.masked import MaskedProcess
from sfumato.noise.uniform import UniformProcess
from sfumato.protocols import Process
from sfumato.text.vocabulary import Vocabulary

SETTINGS = "sfumato.json"
_FORMAT = 1
_PARTS = {"schedule", "path"}
# Long lists, or what the card tells in words and tables; `sfumato.json` holds them in full.
_SAID_ELSEWHERE = {"title", "about", "licence", "lengths", "answers", "probe", "quality"}
_CHAT, _WRITE = "sfumato chat --model FOLDER", "sfumato write --model FOLDER --n 3"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        MaskedProcess,
        UniformProcess,
        schedules.Linear,
        schedules.Cosine,
        schedules.Polynomial,
        schedules.LogLinear,
        schedules.Geometric,
        GaussianProcess,
        gaussian.Preserving,
        gaussian.Exploding,
        gaussian.Flow,
        log_snr.Tangent,
        log_snr.SquareRoot,
        log_snr.LinearBeta,
        log_snr.Straight,
        log_snr.Odds,
        log_snr.Shifted,
    )
}


def write_settings(
    folder: Path,
    process: Process | GaussianProcess,
    vocabulary: Vocabulary | None,
    metadata: Mapping[str, Any],
    *,
    parts: Mapping[str, Any] | None = None,
) -> None:
    """Writes `sfumato.json`, with the sha256 of every file that is there and of itself.

    Args:
        folder: where everything else has been written.
        process: the noise.
        vocabulary: for its roles; None for what reads no tokens.
        metadata: where the model comes from.
        parts: sizes and kinds of what the other files hold, where they do not say so themselves.

    Raises:
        ModelError: the process is not one that can be written down.
    """
    settings = {
        "format": _FORMAT,
        "version": sfumato.__version__,
        "process": _described(process),
        "roles": {} if vocabulary is None else dict(vocabulary.roles),
        **({"parts": dict(parts)} if parts else {}),
        "metadata": dict(metadata),
        "sha256": {path.name: digest_of(path) for path in sorted(folder.iterdir())},
    }
    settings = json.loads(json.dumps(settings, default=str))
    settings["own_sha256"] = _own_digest(settings)
    text = json.dumps(settings, ensure_ascii=False, indent=1) + "\n"
    (folder / SETTINGS).write_text(text, encoding="utf-8")


def read_settings(folder: Path) -> Mapping[str, Any]:
    """What `sfumato.json` says, checked against the files; empty for a plain encoder.

    Raises:
        ModelError: it is broken, or a file is not the one that was saved.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return {}
    settings = read_json(path)
    digests = settings.get("sha256")
    if settings.get("format") != _FORMAT or not isinstance(digests, dict):
        raise ModelError(
            f"{path} has format {settings.get('format')!r}, expected {_FORMAT}: it is broken or "
            "was made by another version of sfumato"
        )
    if settings.get("own_sha256", _own_digest(settings)) != _own_digest(settings):
        raise ModelError(
            f"{path} is not what was saved (see its own_sha256): copy the checkpoint again, or "
            "delete that entry if you changed the file yourself"
        )
    for name, digest in digests.items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name} is missing: copy the checkpoint again")
        if digest_of(folder / name) != digest:
            raise ModelError(
                f"{folder / name} is not the file that was saved (its sha256 differs from "
                f"{SETTINGS}): copy it again, or delete its entry there if you changed it yourself"
            )
    return settings


def _own_digest(settings: Mapping[str, Any]) -> str:
    """The sha256 of all other settings, however they are laid out."""
    others = {name: value for name, value in settings.items() if name != "own_sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def _described(part: Any) -> dict[str, Any]:  # noqa: ANN401
    """A process or schedule as JSON: its kind and its fields; the mask is the vocabulary's."""
    kind = type(part).__name__
    if _KINDS.get(kind) is not type(part):
        raise ModelError(f"a checkpoint cannot hold {kind}: expected one of {sorted(_KINDS)}")
    values = {f.name: getattr(part, f.name) for f in fields(part) if f.name != "mask"}
    return {
        "kind": kind,
        **{n: _described(v) if n in _PARTS else v for n, v in values.items()},
    }


def process_of(settings: Mapping[str, Any], vocabulary: Vocabulary, folder: Path) -> Process:
    """The process of the settings; masked noise, linear in time, if they name none.

    Raises:
        ModelError: a process or schedule that this version does not know.
    """
    try:
        values = dict(settings.get("process", {"kind": "MaskedProcess"}))
        inner = dict(values.pop("schedule", {"kind": "Linear"}))
        values["schedule"] = _KINDS[inner.pop("kind")](**inner)
        kind = _KINDS[values.pop("kind")]
        names = {f.name for f in fields(kind)}
        if "mask" in names and values.get("masked", True):
            values["mask"] = vocabulary.mask
        if "excluded" in names:
            values["excluded"] = tuple(values.get("excluded", ()))
        process: Process = kind(**values)
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise ModelError(
            f"{folder / SETTINGS} names a process or schedule that this version does not know: "
            f"{first_line(error)}"
        ) from error
    return process


def gaussian_of(settings: Mapping[str, Any], folder: Path) -> GaussianProcess:
    """The Gaussian process of the settings.

    Raises:
        ModelError: they name none, or one that this version does not know.
    """
    try:
        if settings["process"]["kind"] != GaussianProcess.__name__:
            raise UsageError(f"it is a {settings['process']['kind']}: open it with `load`")
        process: GaussianProcess = _built(settings["process"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise ModelError(
            f"{folder / SETTINGS} names no Gaussian process that this version knows: "
            f"{first_line(error)}"
        ) from error
    return process


def _built(values: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The part that `_described` wrote down."""
    inner = {n: _built(v) if isinstance(v, dict) else v for n, v in values.items() if n != "kind"}
    return _KINDS[values["kind"]](**inner)


def card(
    network: str, size: int, process: Process | GaussianProcess, metadata: Mapping[str, Any]
) -> str:
    """The model card: `title`, `about` and `licence` have places of their own.

    Args:
        network: class of the network.
        size: number of its parameters.
        process: the noise.
        metadata: where the model comes from.

    Example:
        >>> "1.50M" in card("BertForMaskedLM", 1_500_000, MaskedProcess(mask=0), {"seed": 0})
        True
    """
    rest = {name: value for name, value in metadata.items() if name not in _SAID_ELSEWHERE}
    template = resources.files("sfumato.models.storage").joinpath("assets/card.md")
    return template.read_text(encoding="utf-8").format(
        licence=metadata.get("licence", "unknown"),
        front=_front(metadata),
        use=_CHAT if metadata.get("dialogues") else _WRITE,
        title=metadata.get("title", "A text diffusion model"),
        about=metadata.get("about", "Its data and settings are listed below."),
        network=network,
        millions=size / 1e6,
        process=type(process).__name__,
        version=sfumato.__version__,
        origin=json.dumps(rest, ensure_ascii=False, indent=1, default=str),
    )


def _front(metadata: Mapping[str, Any]) -> str:
    """Lines of the card's front matter that the hub makes links of."""
    base = str(metadata.get("base_model", ""))
    lines = [f"base_model: {base}"] if _HUB_NAME.fullmatch(base) else []
    known = [tag for tag in metadata.get("quality", {}) if not tag.startswith("und")]
    if known:
        lines.append(f"language: [{', '.join(known)}]")
    return "".join(f"{line}\n" for line in lines)

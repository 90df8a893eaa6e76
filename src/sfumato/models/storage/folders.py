"""Reading a folder of transformers: what is there, and what is wrong with it in one line.

    name ──► locate ──► folder ──► read_config ──► read_network, read_tokenizer
                                                        │
                                    the network, and which weights of its head are missing

No pickle is ever read, and no code of a checkpoint is run unless the caller says so by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    StrictDataclassError,
)
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from sfumato.errors import ModelError
from sfumato.text.vocabulary import Vocabulary, with_roles

Kind = (
    type[AutoModelForMaskedLM]
    | type[AutoModelForCausalLM]
    | type[AutoModelForSequenceClassification]
    | type[AutoModel]
)
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md"]
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_BROKEN = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A network as it came from its folder.

    Attributes:
        network: the network, float32, in evaluation mode.
        missing: weights of the head that the folder lacks; they are random.
    """

    network: PreTrainedModel
    missing: tuple[str, ...]


def locate(name: str | Path, *, trust_remote_code: bool = False) -> Path:
    """The folder of a checkpoint; a name on the hub is downloaded, without pickles.

    Raises:
        ModelError: there is neither such a folder nor such a name.
    """
    path, text = Path(name).expanduser(), str(name)
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{text} is a file; expected a folder with config.json and weights")
    if isinstance(name, Path) or not _HUB_NAME.fullmatch(text) or text.startswith("."):
        raise ModelError(f"{text}: there is no such folder; expected one with config.json")
    wanted = [*_WANTED, "*.py"] if trust_remote_code else _WANTED
    try:
        return Path(snapshot_download(text, allow_patterns=wanted))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ModelError(
            f"{text}: there is no such folder here, and the hub did not give it: "
            f"{first_line(error)}"
        ) from error


def read_config(folder: Path) -> Mapping[str, Any]:
    """What `config.json` says.

    Raises:
        ModelError: the file is missing or broken, or the folder holds an adapter only.
    """
    path = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter of peft: merge it into its model first "
            "(merge_and_unload, then save_pretrained) and open that folder"
        )
    if not path.is_file():
        raise ModelError(f"{folder} has no config.json; expected a folder saved by transformers")
    return read_json(path)


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelError: it cannot be read or is not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is broken: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is broken: expected a JSON object")
    return content


def read_network(
    folder: Path,
    *,
    trust_remote_code: bool = False,
    kind: Kind = AutoModelForMaskedLM,
    options: Mapping[str, Any] | None = None,
) -> Opened:
    """Opens the network, as `…ForMaskedLM` unless another auto class is given.

    The options are those of `precision.loading`; float32 without them.

    Raises:
        ModelError: no safetensors weights, broken or foreign weights, or an architecture
            that transformers has no such model for.
    """
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for kind in _PICKLES for path in folder.glob(kind))
        found = f"only {', '.join(pickles[:3])}, which is a pickle and" if pickles else "none, it"
        raise ModelError(
            f"{folder} has no safetensors weights ({found} is never read): save the model again "
            "with save_pretrained of a current transformers"
        )
    try:
        with quiet():
            network, found = cast(Any, kind).from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
                **(options or {"dtype": torch.float32}),
            )
    except _BROKEN as error:
        raise ModelError(f"{folder}: cannot open the model: {first_line(error)}") from error
    body = f"{network.base_model_prefix}."
    missing = sorted(found["missing_keys"])
    # Classifiers have a pooler in their body, which masked language models lack.
    lost = [key for key in missing if key.startswith(body) and ".pooler." not in key]
    if lost:
        raise ModelError(
            f"{folder}: {len(lost)} weights of the encoder are missing ({lost[0]} …): the "
            "weights do not belong to config.json, or the copy is incomplete"
        )
    return Opened(network=network.eval(), missing=tuple(missing))


def read_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Opens the tokenizer.

    Raises:
        ModelError: it is missing or broken.
    """
    if (folder / "tokenizer.json").is_file():
        read_json(folder / "tokenizer.json")  # the tokenizer's own error has no type to catch
    try:
        with quiet():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=trust_remote_code
            )
    except _BROKEN as error:
        raise ModelError(f"{folder}: cannot open the tokenizer: {first_line(error)}") from error
    return tokenizer


def vocabulary_of(
    tokenizer: PreTrainedTokenizerBase, size: int, *, roles: Mapping[str, int] | None = None
) -> Vocabulary:
    """The vocabulary of a tokenizer of transformers.

    Args:
        tokenizer: a fast tokenizer.
        size: width of the model's logits.
        roles: role markers that a checkpoint already has; None gives them where there is room.

    Raises:
        ModelError: it has no mask, no padding or no end token, or is not a fast tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ModelError(f"{type(tokenizer).__name__} is not a fast tokenizer, which is needed")
    ids: dict[str, Any] = {
        name: getattr(tokenizer, f"{name}_token_id", None)
        for name in ("mask", "pad", "sep", "eos", "cls", "bos")
    }
    end = ids["sep"] if ids["sep"] is not None else ids["eos"]
    named = {"mask": ids["mask"], "padding": ids["pad"], "end": end}
    lacking = [name for name, token in named.items() if token is None]
    if lacking:
        raise ModelError(
            f"the tokenizer has no {' and no '.join(lacking)} token; masked diffusion needs "
            "mask, padding and end: choose an encoder that was pre-trained with masks"
        )
    vocabulary = Vocabulary(
        tokenizer=backend,
        mask=ids["mask"],
        pad=ids["pad"],
        eos=end,
        bos=ids["cls"] if ids["cls"] is not None else ids["bos"],
        size=size,
        roles=dict(roles or {}),
    )
    return vocabulary if roles is not None else with_roles(vocabulary, size)


def pretrained_tokenizer(
    vocabulary: Vocabulary, template: str | None = None, *, max_length: int | None = None
) -> PreTrainedTokenizerFast:
    """A tokenizer of transformers with the same ids, for saving.

    Args:
        vocabulary: what it is made from.
        template: the chat template.
        max_length: the longest row that the model reads.

    Example:
        >>> from sfumato.text.vocabulary import learn_vocabulary
        >>> words = learn_vocabulary(["a cat"], size=300)
        >>> pretrained_tokenizer(words)("a cat").input_ids == [
        ...     words.bos, *words.encode("a cat"), words.eos]
        True
    """
    special: dict[str, Any] = {
        "mask_token": vocabulary.name(vocabulary.mask),
        "pad_token": vocabulary.name(vocabulary.pad),
        "sep_token": vocabulary.name(vocabulary.eos),
        "eos_token": vocabulary.name(vocabulary.eos),
    }
    if vocabulary.bos is not None:
        special |= dict.fromkeys(("cls_token", "bos_token"), vocabulary.name(vocabulary.bos))
    if max_length is not None:
        special["model_max_length"] = max_length
    markers = [vocabulary.name(token) for token in vocabulary.roles.values()]
    # A copy through JSON reads special tokens out of a text, as chat front ends expect.
    backend = Tokenizer.from_str(vocabulary.tokenizer.to_str())
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, extra_special_tokens=markers, **special
    )
    tokenizer.chat_template = template
    return tokenizer


def first_line(error: BaseException) -> str:
    """An error as one short line."""
    text = str(error).strip()
    line = f"{type(error).__name__}: {text.splitlines()[0][:300] if text else ''}"
    if "trust_remote_code" in text:
        line += " (trust_remote_code is off; turn it on only for code that you have read)"
    return line


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers' load report and progress bars off the terminal."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]

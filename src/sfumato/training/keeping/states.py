"""States of an optimiser, a schedule, random numbers: as safetensors and JSON, never as a pickle.

{"state": {0: {"step": tensor}}, …}  ─►  states.json          the tree, tensors by their numbers
                                         states.safetensors   the tensors
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from sfumato.errors import ModelError, UsageError

TREE_FILE, TENSORS_FILE = "states.json", "states.safetensors"
_PLAIN = (bool, int, float, str, type(None))
Tree = Any


def save_states(states: Mapping[str, Tree], folder: Path) -> None:
    """Writes nested dicts, lists and tuples of tensors and plain values.

    Raises:
        UsageError: something in them is neither.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> save_states({"betas": (0.9, 0.98), "state": {0: torch.ones(2)}}, folder)
        >>> load_states(folder)
        {'betas': (0.9, 0.98), 'state': {0: tensor([1., 1.])}}
    """
    tensors: dict[str, Tensor] = {}
    tree = _flat(states, tensors)
    safetensors.torch.save_file(tensors, str(folder / TENSORS_FILE))
    (folder / TREE_FILE).write_text(json.dumps(tree), encoding="utf-8")


def load_states(folder: Path) -> dict[str, Tree]:
    """What `save_states` wrote, the tensors on the CPU.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        tensors = safetensors.torch.load_file(str(folder / TENSORS_FILE))
        states: dict[str, Tree] = _deep(
            json.loads((folder / TREE_FILE).read_text(encoding="utf-8")), tensors
        )
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise ModelError(f"{folder}: the states cannot be read: {error}") from error
    return states


def _flat(value: Tree, tensors: dict[str, Tensor]) -> Tree:
    """The value as JSON; its tensors are put aside."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        items = [[_plain(key), _flat(inner, tensors)] for key, inner in value.items()]
        return {"dict": items}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_flat(inner, tensors) for inner in value]}
    return _plain(value)


def _plain(value: object) -> object:
    if type(value) not in _PLAIN:
        raise UsageError(
            f"a checkpoint holds tensors, numbers and texts, no {type(value).__name__}: choose an "
            "optimiser and a schedule whose states are made of these"
        )
    return value


def _deep(tree: Tree, tensors: Mapping[str, Tensor]) -> Tree:
    if not isinstance(tree, dict):
        return tree
    ((kind, inner),) = tree.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "dict":
        return {key: _deep(value, tensors) for key, value in inner}
    return {"list": list, "tuple": tuple}[kind](_deep(value, tensors) for value in inner)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """The states of the global generators, as tensors of one size in every process."""
    _, numbers, gauss = random.getstate()
    numpy: Any = np.random.get_state(legacy=False)
    found = {
        "python": torch.tensor(numbers),
        "python_gauss": torch.tensor(math.nan if gauss is None else gauss, dtype=torch.float64),
        "numpy": torch.from_numpy(numpy["state"]["key"].astype(np.int64)),
        "numpy_place": torch.tensor([numpy["state"]["pos"], numpy["has_gauss"]]),
        "numpy_gauss": torch.tensor(numpy["gauss"], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Goes on with random numbers where `random_states` stood."""
    gauss = float(states["python_gauss"])
    random.setstate((3, tuple(states["python"].tolist()), None if math.isnan(gauss) else gauss))
    place, has_gauss = states["numpy_place"].tolist()
    key = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", key, place, has_gauss, float(states["numpy_gauss"])))
    # A copy, since torch reads from the beginning of the storage, not of the slice.
    torch.set_rng_state(states["torch"].clone())
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].clone(), device)

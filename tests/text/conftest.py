"""Vocabularies for the tests of `sfumato.text`."""

from __future__ import annotations

import pytest
from tests.text import vocabularies

from sfumato.text.vocabulary import Vocabulary


@pytest.fixture(scope="session", params=vocabularies.NAMES)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    """Each family's vocabulary in turn; the real ones are skipped where the data is not there."""
    return vocabularies.by_name(request.param, request)


@pytest.fixture(scope="session")
def words() -> Vocabulary:
    """One small byte-level vocabulary."""
    return vocabularies.byte_level()

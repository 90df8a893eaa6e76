from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.apps.serve.living import Live, serving, tiny


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server without a token that a module's tests share."""
    folder = tmp_path_factory.mktemp("served")
    with serving(tiny(), folder) as server:
        yield server

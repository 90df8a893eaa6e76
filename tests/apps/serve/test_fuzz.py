"""Thousands of requests that nobody would think of, by schemathesis with all of its checks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.apps.serve.living import serving, tiny

from sfumato_apps.serve.limits import Limits

CASES = 2000
# What a schema cannot say (a context, a cost, places in a text, a rank for each text) is 400.
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "429"]
"""
LIMITS = Limits(n=2, length=8, steps=8, draws=4, texts=2, cost=4000)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_is_too_much(tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    with serving(tiny(), tmp_path, token="a token", limits=LIMITS, runs=tmp_path) as live:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
                *("run", f"{live.url}/openapi.json", "--checks", "all", "--seed", "1"),
                *("--header", "Authorization: Bearer a token", "--max-examples", "50"),
                *("--no-color", "--workers", "1", "--request-timeout", "30"),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        metrics = live.get("/metrics", Authorization="Bearer a token").text
        assert live.get("/readyz", Authorization="Bearer a token").status_code == 200
    shown = done.stdout[-12000:] + done.stderr[-2000:]
    answers = re.findall(r'sfumato_http_requests_total\{.*status="(\d+)"\} ([\d.e+]+)', metrics)
    total = sum(float(count) for _, count in answers)
    assert not [status for status, _ in answers if status.startswith("5")], shown
    assert done.returncode == 0, shown
    assert total >= CASES, shown

"""requirements.lock: hashes for what constraints.txt pins."""

from __future__ import annotations

import re
import tomllib

from tests.house.source import ROOT

PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / name).read_text(encoding="utf-8")))


def test_the_lock_pins_what_the_constraints_pin() -> None:
    """What only other systems need, such as CUDA's libraries, is in the lock alone."""
    locked, pinned = pins("requirements.lock"), pins("constraints.txt")
    assert not {name: v for name, v in locked.items() if pinned.get(name, v) != v}
    extra = {name for name in locked.keys() - pinned.keys() if not name.startswith("nvidia")}
    assert len(extra) < 12, extra


def test_the_lock_holds_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=;\[ ]", line)[0].lower() for line in project["dependencies"]}
    assert needed <= pins("requirements.lock").keys()


def test_everything_in_the_lock_has_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(entries) == len(pins("requirements.lock"))
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)

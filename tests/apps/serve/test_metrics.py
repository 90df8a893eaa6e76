"""Counts of one process, and their copies for several."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from tests.sampling.told import whimsical

from sfumato_apps.serve.engine.engine import Engine
from sfumato_apps.serve.metrics import EngineCollector, Mirror, forget_dead


def test_a_mirror_says_what_its_collectors_say() -> None:
    """Counts are added once, however often they are copied; what no sum means is left out."""
    engine = Engine(whimsical())
    source = CollectorRegistry()
    source.register(EngineCollector(engine))
    ProcessCollector(registry=source)
    mirror = Mirror(source)
    for engine.meters.steps in (3, 3, 8):
        mirror.update()

    def lines(registry: CollectorRegistry) -> set[str]:
        text = generate_latest(registry).decode().split("\n")
        return {line for line in text if line.startswith("sfumato_") and "_created" not in line}

    assert lines(mirror.copies) == lines(source)
    assert "sfumato_steps_total 8.0" in lines(source)
    names = {family.name for family in mirror.copies.collect()}
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= names
    assert "process_start_time_seconds" not in names


def test_what_a_dead_process_had_at_hand_is_forgotten(tmp_path: Path) -> None:
    """Its counts stay, so that the sums never fall."""
    dead, alive = 2**22 + 1, os.getpid()  # no Linux process has a number above 2**22
    for process in (dead, alive):
        for kind in ("gauge_livesum", "counter"):
            (tmp_path / f"{kind}_{process}.db").touch()
    forget_dead(tmp_path)
    left = {file.name for file in tmp_path.iterdir()}
    assert left == {f"gauge_livesum_{alive}.db", f"counter_{alive}.db", f"counter_{dead}.db"}

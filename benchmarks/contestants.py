"""What every benchmark of a training shares: its options, `sfumato train`, and the rival.

The rival is a Llama of the same size and vocabulary, trained on the same texts for the same CPU
time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import autoregressive
import torch
from transformers import LlamaForCausalLM

import sfumato_apps.cli
from sfumato.models.checkpoints import Checkpoint, load
from sfumato.text.batching import Example

SEED, _TIME = 0, "cpu_seconds"


def parser(description: str | None, *, minutes: float | None = None) -> argparse.ArgumentParser:
    """The options of all."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("data", type=Path)
    found.add_argument("--out", type=Path, required=True, help="what is there is not done again")
    if minutes:
        found.add_argument("--minutes", type=float, default=minutes, help="of `sfumato train`")
    return found


def diffusion(folder: Path, *options: str) -> Checkpoint:
    """`sfumato train` in a process of its own, or what an earlier run left in the folder."""
    trained(folder, "train", *options)
    return load(str(folder))


def trained(folder: Path, command: str, *options: str) -> None:
    """A command that trains, in a process of its own, unless an earlier run left its model."""
    if not (folder / _TIME).exists():
        call = [sys.executable, "-m", sfumato_apps.cli.__name__, command, "--out", str(folder)]
        before, start = _cpu_seconds(), time.monotonic()
        subprocess.run([*call, "--bf16", *options], check=True)
        print(f"{command}: {time.monotonic() - start:.0f} seconds by the clock", flush=True)
        (folder / _TIME).write_text(f"{_cpu_seconds() - before:.0f}")


def command(name: str, *options: str) -> None:
    """A command of sfumato in a process of its own."""
    subprocess.run([sys.executable, "-m", sfumato_apps.cli.__name__, name, *options], check=True)


def keep(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Writes JSON lines; the path, for a command."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return str(path)


def seconds_of(folder: Path) -> float:
    """CPU seconds that the training in a folder took."""
    return float((folder / _TIME).read_text())


def rival(
    folder: Path, opponent: Path, examples: Sequence[Example], *, length: int
) -> LlamaForCausalLM:
    """A Llama trained on examples for as long as its opponent was, or an earlier run's."""
    if not folder.exists():
        model = load(str(opponent))
        size, words = model.denoiser.network.config, model.vocabulary
        torch.manual_seed(SEED)
        new = autoregressive.new_llama(
            words, width=size.hidden_size, layers=size.num_hidden_layers, positions=2 * length
        )
        seconds = float((opponent / _TIME).read_text())
        autoregressive.train(new, examples, words, seconds=seconds, seed=SEED)
        autoregressive.save(new, words, folder)
    found: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder).eval()
    return found


def _cpu_seconds() -> float:
    """Of all processes that this one waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

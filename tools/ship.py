"""Puts a trained model into the package, in half precision, with its card.

    python tools/ship.py runs/shipped
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from sfumato.models.checkpoints import SHIPPED, load, save

ABOUT = """It writes English descriptions of restaurants and how Russian stories for children
begin, and knows nothing else: it is there to try sfumato out offline, and was trained on two CPU
cores. Convert an encoder of your language for anything real.

**Data.** [E2E NLG challenge](https://github.com/tuetschek/e2e-dataset), CC BY-SA 4.0 (the part
that Diffusion-LM keeps as `src1_valid.txt`); [TinyStories-ru](
https://github.com/MichaelMonashev/TinyStories-ru), Apache-2.0, the first sentences of each story.
`examples/prepare_shipped_data.py` prepares both; `src/sfumato_apps/presets/shipped.yaml` repeats
the training. The weights are published under CC BY-SA 4.0.

**Limits.** It repeats what these corpora say, their stereotypes included. Half of its vocabulary
are pieces of words; single characters may come out wrong."""


def main(run: Path) -> None:
    """Saves the run's model as the shipped one."""
    trained = load(run)
    metadata = {
        **trained.metadata,
        "title": "The small model that comes with sfumato",
        "about": ABOUT,
        "licence": "cc-by-sa-4.0",
    }
    shutil.rmtree(SHIPPED, ignore_errors=True)
    save(replace(trained, metadata=metadata), SHIPPED, dtype=torch.float16)
    print(f"{SHIPPED}: {sum(path.stat().st_size for path in SHIPPED.iterdir()) / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

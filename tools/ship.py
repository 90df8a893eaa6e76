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

ABOUT = """It writes English descriptions of restaurants and short Russian sentences, and knows
nothing else: it is there to try sfumato out offline, and was trained on two CPU cores in about half
an hour. Convert an encoder of your language for anything real.

**Data.** [E2E NLG challenge](https://github.com/tuetschek/e2e-dataset), CC BY-SA 4.0 (the part
that Diffusion-LM keeps as `src1_valid.txt`); [Koziev's NLP_Datasets](
https://github.com/Koziev/NLP_Datasets), ChangePerson, CC0 1.0.
`examples/prepare_shipped_data.py` prepares both; `src/sfumato_apps/presets/shipped.yaml` repeats
the training. The weights are published under CC BY-SA 4.0.

**Limits.** It repeats what these corpora say, makes mistakes of grammar, and contradicts itself
within a sentence."""


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

"""Prints constraints.txt: the versions of this environment, without hashes or local labels.

A constraint says which version to take if a package is needed and never asks for one, so the
file serves pip and uv, with and without a GPU. It holds no hashes, which would make pip ask
for the hash of everything. To renew it, install the newest of all and freeze what works:

    python3 -m venv /tmp/new && /tmp/new/bin/pip install --upgrade pip
    /tmp/new/bin/pip install -e . --group test --group lint --group docs --group bench
    /tmp/new/bin/python tools/freeze.py > constraints.txt
"""

from __future__ import annotations

import importlib.metadata

OURS = {"sfumato", "pip", "setuptools", "wheel"}


def main() -> None:
    """Writes one `name==version` a line, sorted."""
    found = {
        distribution.name.lower().replace("_", "-"): distribution.version.split("+")[0]
        for distribution in importlib.metadata.distributions()
    }
    print("# Written by tools/freeze.py, which says how to renew it.")
    for name in sorted(found.keys() - OURS):
        print(f"{name}=={found[name]}")


if __name__ == "__main__":
    main()

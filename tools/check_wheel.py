"""Builds the wheel, installs it in a clean environment without extras, imports all of it.

The server is imported after its extra is installed too.

Usage: python3 tools/check_wheel.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("sfumato", "sfumato_apps")
SERVER = "sfumato_apps.serve"

# Runs inside the clean environment, away from the source tree.
IMPORT_ALL = """
import importlib, sys
from pathlib import Path
without, *packages = sys.argv[1:]
for package in packages:
    root = Path(importlib.import_module(package).__file__).parent
    for file in sorted(root.rglob("*.py")):
        parts = (*package.split("."), *file.relative_to(root).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        if without and f"{name}.".startswith(f"{without}.") or name.endswith("__main__"):
            continue
        importlib.import_module(name)
        print(name)
"""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Runs a command and returns what it printed; its errors go to the terminal."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def missing(wheel: Path) -> list[str]:
    """Files of src that the wheel lacks."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = (path for name in PACKAGES for path in (ROOT / "src" / name).rglob("*"))
    kept = (path for path in files if path.is_file() and "__pycache__" not in path.parts)
    return sorted({path.relative_to(ROOT / "src").as_posix() for path in kept} - packed)


def main(folder: Path) -> None:
    """Builds, compares with the source tree, installs, imports, asks for help."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("sfumato-*.whl")
    if absent := missing(wheel):
        sys.exit(f"{wheel.name} lacks {absent}")
    run(*pip, "install", "--constraint", ROOT / "constraints.txt", wheel)
    names = run(python.absolute(), "-c", IMPORT_ALL, SERVER, *PACKAGES, cwd=folder).split()
    run((folder / "venv" / "bin" / "sfumato").absolute(), "--help", cwd=folder)
    run(*pip, "install", "--constraint", ROOT / "constraints.txt", f"{wheel}[serve]")
    names += run(python.absolute(), "-c", IMPORT_ALL, "", SERVER, cwd=folder).split()
    print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB, {len(names)} modules imported")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

"""Builds the wheel, installs it in a clean environment without extras, imports all of it.

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

# Runs inside the clean environment, away from the source tree.
IMPORT_ALL = """
import importlib, pkgutil, sys
names = []
for package in sys.argv[1:]:
    module = importlib.import_module(package)
    names += [package] + [m.name for m in pkgutil.walk_packages(module.__path__, package + ".")]
for name in names:
    if not name.endswith("__main__"):
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
    names = run(python.absolute(), "-c", IMPORT_ALL, *PACKAGES, cwd=folder).split()
    run((folder / "venv" / "bin" / "sfumato").absolute(), "--help", cwd=folder)
    print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB, {len(names)} modules imported")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))

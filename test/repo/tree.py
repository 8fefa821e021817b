"""The files of this repository, as a clone would have them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "edge_inference"


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return what git tracks or would add, relative to the root; ignored files are left out."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = (Path(name) for name in listed.split("\0") if name)
    return tuple(name for name in sorted(set(names)) if (ROOT / name).is_file())


def copy_to(folder: Path) -> Path:
    """Copy those files into a folder, as a clone."""
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return folder


def module_name(file: Path) -> str:
    """Return the dotted name of a module file of the package."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

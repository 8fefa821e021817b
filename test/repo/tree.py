"""The files of this repository, as a clone would have them."""

from __future__ import annotations

import shutil
import subprocess
from configparser import ConfigParser
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "edge_inference"


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return the files that git tracks or would add, relative to the root, without ignored ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = (Path(name) for name in output.split("\0") if name)
    return tuple(name for name in sorted(set(names)) if (ROOT / name).is_file())


@cache
def text_of(name: Path) -> str | None:
    """Return the text of a tracked file, or None if it is binary."""
    with (ROOT / name).open("rb") as file:
        start = file.read(8192)
        if b"\0" in start:
            return None
        data = start + file.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


@cache
def package_sources() -> dict[str, str]:
    """Return the source of every module by its dotted name; a package's is its ``__init__``."""
    return {module_name(file): file.read_text() for file in sorted(PACKAGE.rglob("*.py"))}


def copy_to(folder: Path) -> Path:
    """Copy the tracked files into a folder, as a clone."""
    for name in tracked_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return folder


def entry_points_of_extension() -> set[tuple[str, str]]:
    """Return group and name of each entry point of the package in test/extension_package."""
    setup = ConfigParser()
    setup.read(ROOT / "test" / "extension_package" / "setup.cfg")
    return {
        (group, line.partition("=")[0].strip())
        for group, lines in setup["options.entry_points"].items()
        for line in lines.splitlines()
        if line.strip()
    }


def module_name(file: Path) -> str:
    """Return the dotted name of a module file of the package."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

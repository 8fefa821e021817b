#!/usr/bin/env python3
"""Write ``requirements/locked``: what a set-up from wheels installs, every package in one version.

Usage: .venv/bin/python scripts/lock_requirements.py

The lists in ``requirements/`` say what is wanted, within bounds. From them uv chooses the newest
versions that go together, for Python 3.10 to 3.12: first of all lists but those of ROS 2, then of
each distribution within that choice. An environment may so hold any of the sets.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from commands import Commands, SetUpError
from installer import Installer
from packages import ALONE, SETS

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
LOCKED = REQUIREMENTS / "locked"
DISTROS = ("jazzy", "kilted")
# What the messages are built with besides the wheels.
BUILD_NEEDS = "numpy\n"
HEADER = "# Written by scripts/lock_requirements.py\n"


def compile_lists(installer: Installer, lists: list[Path], *options: str) -> list[str]:
    """Return the lines of one version each of what the lists name and of what that needs."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as result:
        arguments = ["--universal", "--python-version", "3.10", "--no-header", "--no-annotate"]
        names = [str(file) for file in lists]
        installer.compile([*arguments, *options, *names, "-o", result.name])
        return Path(result.name).read_text().splitlines()


def write(name: str, lines: list[str]) -> None:
    """Write one locked list."""
    LOCKED.mkdir(exist_ok=True)
    (LOCKED / f"{name}.txt").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    print(f"requirements/locked/{name}.txt: {len(lines)} packages")


def main() -> int:
    """Write all locked lists."""
    cache = ROOT / ".cache"
    commands = Commands(Path(sys.executable), cache / "log" / "lock.log", cache / "pip")
    installer = Installer(commands, REQUIREMENTS / "installer.txt", cache / "uv")
    own = [name for names in SETS.values() for name in names]
    with tempfile.TemporaryDirectory() as folder:
        choice, needs = Path(folder) / "choice.txt", Path(folder) / "needs.txt"
        needs.write_text(BUILD_NEEDS)
        shared = [REQUIREMENTS / f"{name}.txt" for name in own if name not in ALONE]
        choice.write_text("\n".join(compile_lists(installer, shared)))
        within = ("--constraint", str(choice))
        for name, parts in SETS.items():
            files = {part: REQUIREMENTS / f"{part}.txt" for part in parts}
            lines: list[str] = []
            for part, file in files.items():
                lines += compile_lists(
                    installer, [file], *within, *(["--no-deps"] if part in ALONE else [])
                )
            write(name, sorted(set(lines)))
        for distro in DISTROS:
            lists = [REQUIREMENTS / f"ros-{distro}.txt", needs]
            write(f"ros-{distro}", compile_lists(installer, lists, *within))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetUpError as error:
        sys.exit(f"lock: {error}")

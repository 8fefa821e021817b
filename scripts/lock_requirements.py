#!/usr/bin/env python3
"""Write ``requirements/locked``: one version of each package that a set-up from wheels installs.

Usage: .venv/bin/python scripts/lock_requirements.py

The lists in ``requirements/`` name the packages with their bounds. uv chooses the newest versions
that are compatible with each other, for Python 3.10 to 3.12: first for all lists except those of
ROS 2, then for each ROS 2 distribution with these versions as constraints. So an environment may
contain any of the sets.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from command_runner import CommandRunner, SetUpError
from installer import Installer
from packages import SETS, WITHOUT_DEPENDENCIES

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"
LOCKED = REQUIREMENTS / "locked"
DISTROS = ("jazzy", "kilted")
# Needed to build the messages, in addition to the wheels of ROS 2.
BUILD_REQUIREMENTS = "numpy\n"
HEADER = "# Written by scripts/lock_requirements.py\n"


def resolve_lists(installer: Installer, lists: list[Path], *options: str) -> list[str]:
    """Return one requirement line for each package of the lists and for each dependency."""
    with tempfile.NamedTemporaryFile(suffix=".txt") as result:
        arguments = ["--universal", "--python-version", "3.10", "--no-header", "--no-annotate"]
        names = [str(file) for file in lists]
        installer.compile([*arguments, *options, *names, "-o", result.name])
        return Path(result.name).read_text().splitlines()


def write_locked_list(name: str, lines: list[str]) -> None:
    """Write one locked list."""
    LOCKED.mkdir(exist_ok=True)
    (LOCKED / f"{name}.txt").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    print(f"requirements/locked/{name}.txt: {len(lines)} packages")


def main() -> int:
    """Write all locked lists."""
    # Builds in a folder of this machine, such as one of torch for CPUs, are not those of others.
    os.environ.pop("PIP_FIND_LINKS", None)
    cache = ROOT / ".cache"
    runner = CommandRunner(Path(sys.executable), cache / "log" / "lock.log", cache / "pip")
    installer = Installer(runner, REQUIREMENTS / "installer.txt", cache / "uv")
    own_lists = [name for names in SETS.values() for name in names]
    with tempfile.TemporaryDirectory() as folder:
        versions, build_list = Path(folder) / "versions.txt", Path(folder) / "build.txt"
        build_list.write_text(BUILD_REQUIREMENTS)
        shared = [
            REQUIREMENTS / f"{name}.txt" for name in own_lists if name not in WITHOUT_DEPENDENCIES
        ]
        versions.write_text("\n".join(resolve_lists(installer, shared)))
        constraint = ("--constraint", str(versions))
        for name, parts in SETS.items():
            files = {part: REQUIREMENTS / f"{part}.txt" for part in parts}
            lines: list[str] = []
            for part, file in files.items():
                alone = ["--no-deps"] if part in WITHOUT_DEPENDENCIES else []
                lines += resolve_lists(installer, [file], *constraint, *alone)
            write_locked_list(name, sorted(set(lines)))
        for distro in DISTROS:
            lists = [REQUIREMENTS / f"ros-{distro}.txt", build_list]
            write_locked_list(f"ros-{distro}", resolve_lists(installer, lists, *constraint))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetUpError as error:
        sys.exit(f"lock: {error}")

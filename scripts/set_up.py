#!/usr/bin/env python3
"""Prepare the environment that the Makefile's commands run in.

Usage: set_up.py VENV [--ros DISTRO] [--with SET]... [--with-gpu-kit]

This file selects a suitable Python and runs ``workspace.py``. Its syntax works with every
Python 3, so that an old interpreter prints a sentence and not a syntax error.
"""

import importlib.util
import os
import subprocess
import sys

MIN_PYTHON, MAX_PYTHON = (3, 10), (3, 12)
CANDIDATES = ("python3.12", "python3.11", "python3.10")


def ros_is_sourced():
    """Return whether this interpreter already sees a ROS 2 installation."""
    is_set = os.environ.get("ROS_DISTRO") and os.environ.get("AMENT_PREFIX_PATH")
    return bool(is_set) and importlib.util.find_spec("rclpy") is not None


def is_suitable(version):
    """Return whether wheels exist for this version; a sourced ROS 2 may have a newer Python."""
    return version >= MIN_PYTHON and (version <= MAX_PYTHON or ros_is_sourced())


def python_version(command):
    """Return (major, minor) of an interpreter, or None if it does not start."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [command, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(int(number) for number in done.stdout.split())


def main():
    """Run the set-up in this interpreter, or in another suitable one."""
    if is_suitable(sys.version_info[:2]):
        from workspace import main as set_up

        return set_up(sys.argv[1:], sourced=ros_is_sourced())
    for command in CANDIDATES:
        version = python_version(command)
        if version and is_suitable(version):
            os.execvp(command, [command] + sys.argv)  # noqa: RUF005 - old Pythons read this too
    sys.stderr.write(
        "set-up: expected Python {}.{} to {}.{}, got {}.{}, and none of {} starts. "
        "Install one of them, or name one: make PYTHON=/path/to/python3.12\n".format(
            *(MIN_PYTHON + MAX_PYTHON + sys.version_info[:2] + (", ".join(CANDIDATES),))
        )
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Prepare the environment that the Makefile's commands run in.

Usage: set_up.py VENV [--ros DISTRO] [--with-tests] [--with-gpu-kit]

This file picks a suitable Python and hands over to ``workspace.py``; it stays readable for every
Python 3, so that an old interpreter ends in a sentence and not in a syntax error.
"""

import importlib.util
import os
import subprocess
import sys

OLDEST, NEWEST = (3, 10), (3, 12)
OTHERS = ("python3.12", "python3.11", "python3.10")


def ros_is_sourced():
    """Tell whether this interpreter already sees a ROS 2 installation."""
    named = os.environ.get("ROS_DISTRO") and os.environ.get("AMENT_PREFIX_PATH")
    return bool(named) and importlib.util.find_spec("rclpy") is not None


def is_suitable(version):
    """Wheels exist for a range of Pythons; a sourced ROS 2 brings its own, however new."""
    return version >= OLDEST and (version <= NEWEST or ros_is_sourced())


def version_of(command):
    """Return (major, minor) of an interpreter, or None where it does not start."""
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        done = subprocess.run(
            [command, "-c", ask], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(int(number) for number in done.stdout.split())


def main():
    """Run the set-up in this interpreter, or in another one that is suitable."""
    if is_suitable(sys.version_info[:2]):
        from workspace import main as set_up

        return set_up(sys.argv[1:], sourced=ros_is_sourced())
    for command in OTHERS:
        found = version_of(command)
        if found and is_suitable(found):
            os.execvp(command, [command] + sys.argv)  # noqa: RUF005 - old Pythons read this too
    sys.stderr.write(
        "set-up: Python {}.{} to {}.{} is needed, this is {}.{}, and none of {} starts. "
        "Install one, or name it: make PYTHON=/path/to/python3.12\n".format(
            *(OLDEST + NEWEST + sys.version_info[:2] + (", ".join(OTHERS),))
        )
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())

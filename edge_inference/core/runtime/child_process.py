"""Python programs of ours, and what they import: never what lies in the user's working folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import edge_inference

_PATH = "PYTHONPATH"
# `python -c` puts the working folder first; its option that does not is not in Python 3.10, and the
# one that is ignores PYTHONPATH, through which a sourced ROS 2 is found.
_START = "import sys; sys.path[:] = [path for path in sys.path if path]; "


def python_command(code: str) -> list[str]:
    """Return the command for a child that runs ``code``, to which ``sys`` is known.

    It is for the environment of :func:`python_environment`.
    """
    return [sys.executable, "-c", _START + code]


def python_environment() -> dict[str, str]:
    """Return this process's environment for a child, with the modules that are found here."""
    return {**os.environ, _PATH: os.pathsep.join(import_path())}


def import_path() -> list[str]:
    """Return the folders that modules are looked for in here, but not the working folder.

    It stays where PYTHONPATH names it, or where this package lies in it.
    """
    try:
        here = Path.cwd()
    except OSError:  # it is gone, and nothing in it
        return [path for path in sys.path if path]
    named = {os.path.realpath(path) for path in _path_entries() if path}
    named.add(os.path.realpath(Path(edge_inference.__file__).parents[1]))
    unwanted = {os.path.realpath(here)} - named
    return [path for path in sys.path if path and os.path.realpath(path) not in unwanted]


def drop_working_folder() -> None:
    """Take the working folder off this process's path where only an empty entry put it there.

    An empty entry of PYTHONPATH means it; few who leave one know that.
    """
    entries = _path_entries()
    if len(entries) > 1 and not all(entries):  # alone, none is meant
        sys.path[:] = import_path()
        os.environ[_PATH] = os.pathsep.join(filter(None, entries))


def _path_entries() -> list[str]:
    return os.environ.get(_PATH, "").split(os.pathsep)

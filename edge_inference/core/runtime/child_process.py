"""Runs Python child processes that import no modules from the user's working folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import edge_inference

_PATH = "PYTHONPATH"
# `python -c` puts the working folder first on the path. The option -P, which prevents this, is not
# in Python 3.10; the option -I also ignores PYTHONPATH, which a sourced ROS 2 needs.
_START = "import sys; sys.path[:] = [path for path in sys.path if path]; "


def python_command(code: str) -> list[str]:
    """Return the command for a child process that runs ``code``; ``sys`` is imported already.

    Run it in the environment of :func:`python_environment`.
    """
    return [sys.executable, "-c", _START + code]


def python_environment() -> dict[str, str]:
    """Return this process's environment for a child, with this process's import path."""
    return {**os.environ, _PATH: os.pathsep.join(import_path())}


def import_path() -> list[str]:
    """Return the import path of this process without the working folder.

    The working folder stays where PYTHONPATH names it, or where it contains this package.
    """
    try:
        here = Path.cwd()
    except OSError:  # the working folder was removed
        return [path for path in sys.path if path]
    named = {os.path.realpath(path) for path in _path_entries() if path}
    named.add(os.path.realpath(Path(edge_inference.__file__).parents[1]))
    excluded = {os.path.realpath(here)} - named
    return [path for path in sys.path if path and os.path.realpath(path) not in excluded]


def drop_working_folder() -> None:
    """Remove the working folder from the import path where an empty PYTHONPATH entry added it.

    An empty entry of PYTHONPATH stands for the working folder, usually by accident.
    """
    entries = _path_entries()
    if len(entries) > 1 and not all(entries):  # a single empty entry is an empty PYTHONPATH
        sys.path[:] = import_path()
        os.environ[_PATH] = os.pathsep.join(filter(None, entries))


def _path_entries() -> list[str]:
    return os.environ.get(_PATH, "").split(os.pathsep)

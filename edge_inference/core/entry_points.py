"""Finds the entry points for this package in all installed packages.

A package is installed where its metadata (``.dist-info`` or ``.egg-info``) is in a folder of
``sys.path``, which includes the folders of a colcon workspace.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.core.runtime.worker import format_error

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

#: What the names of all groups begin with.
PREFIX = "edge_inference."
_METADATA = (".dist-info", ".egg-info", "EGG-INFO")
_ENTRY_POINTS = "entry_points.txt"
_GROUP = re.compile(rb"^\s*\[\s*edge_inference\.", re.MULTILINE)


@dataclass(frozen=True)
class InstalledEntries:
    """The entry points for this package by group, each with the name of its package.

    ``faults`` are the packages whose entry points cannot be read.
    """

    groups: Mapping[str, Sequence[tuple[EntryPoint, str]]]
    faults: tuple[str, ...]


_found: InstalledEntries | None = None


def installed_entries() -> InstalledEntries:
    """Return what is installed; one look serves all tables."""
    global _found
    found = _found
    if found is None:
        found = _found = _find_entries()
    return found


def _find_entries() -> InstalledEntries:
    groups: dict[str, list[tuple[EntryPoint, str]]] = {}
    faults = []
    seen = set()
    for distribution in _find_distributions():
        package = _name_of(distribution)
        try:
            entries = [each for each in distribution.entry_points if each.group.startswith(PREFIX)]
        except Exception as error:
            faults.append(
                f"package {package}: its entry points cannot be read: {format_error(error)}; "
                "install it again"
            )
            continue
        key = re.sub("[-_.]+", "-", package).lower()
        if key in seen:  # a workspace replaces a package that is installed below it
            continue
        seen.add(key)
        for entry in entries:
            groups.setdefault(entry.group, []).append((entry, package))
    for found in groups.values():
        # The choice between packages with one name does not depend on the order of folders.
        found.sort(key=lambda each: (each[0].name, each[0].value))
    return InstalledEntries(groups, tuple(faults))


def _find_distributions() -> list[Distribution]:
    """Return the installed packages with entry points for this one, in the order of sys.path.

    Others are not read, so that damage in them is no problem here. importlib.metadata, which
    takes 20 ms to import, is imported only if there is such a package; most machines have none.
    """
    folders = [folder for path in sys.path for folder in _metadata_folders(path)]
    if not folders:
        return []
    from importlib.metadata import Distribution

    return [Distribution.at(folder) for folder in folders]


def _metadata_folders(path: str) -> list[str]:
    """Return the folders of metadata in a folder of sys.path that name a group for this package.

    An empty path is the working folder, in which nothing is installed.
    """
    try:
        with os.scandir(path) as entries:
            names = [each.name for each in entries if each.name.endswith(_METADATA)]
    except OSError:  # there is no such folder, or it is an archive, or the path is empty
        return []
    folders = [f"{path}/{name}" for name in sorted(names)]
    return [folder for folder in folders if _names_our_group(folder)]


def _names_our_group(folder: str) -> bool:
    try:
        return _GROUP.search(Path(folder, _ENTRY_POINTS).read_bytes()) is not None
    except OSError:  # most packages have no entry points
        return False


def _name_of(distribution: Distribution) -> str:
    try:
        name = distribution.metadata["Name"]
    except Exception:  # without a file of metadata
        name = None
    return str(name) if name else f"without a name in {distribution.locate_file('')}"


def forget_installed_entries() -> None:
    """Look again when the entry points are next needed."""
    global _found
    _found = None

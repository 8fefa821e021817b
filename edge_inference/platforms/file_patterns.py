"""Patterns of files by path: in ``sys/class/thermal/thermal_zone*/temp``, ``*`` is one name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TypeAlias

from edge_inference.platforms.system_files import SystemFiles

FilePatterns: TypeAlias = tuple[str, ...]

#: The kernel computes these files when they are read, so the time of their last write says nothing.
_KERNEL_FILES = ("sys/", "proc/")
_WILDCARDS = "*?["


def join_patterns(folders: Iterable[str], names: Iterable[str]) -> FilePatterns:
    """Return the patterns of files with these names in each of these folders."""
    listed = tuple(names)
    return tuple(f"{folder}/{name}" for folder in folders for name in listed)


def describe_path_error(path: str) -> str | None:
    """Return why a path or pattern does not lead from the root to a file, None if it does."""
    if not path.isprintable() or any(part in ("", ".", "..") for part in path.split("/")):
        return (
            f"expected a path from the root without a leading '/', '.' and '..', such as "
            f"run/bms/temperature, got {path!r}"
        )
    return None


def is_kernel_file(path: str) -> bool:
    """Tell whether the kernel computes a file when it is read."""
    return path.startswith(_KERNEL_FILES)


def has_wildcards(path: str) -> bool:
    """Tell whether a path is a pattern of several ones."""
    return any(each in path for each in _WILDCARDS)


def matches_path(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a file matches any of the patterns."""
    parts = path.split("/")
    return any(
        len(parts) == pattern.count("/") + 1 and all(map(fnmatchcase, parts, pattern.split("/")))
        for pattern in patterns
    )


def find_paths(files: SystemFiles, patterns: Iterable[str]) -> Iterator[str]:
    """Yield the files of a machine that match, once each; some of them may not be readable."""
    yield from _find_below(files, "", [tuple(each.split("/")) for each in patterns])


def _find_below(
    files: SystemFiles, folder: str, patterns: Sequence[tuple[str, ...]]
) -> Iterator[str]:
    """Yield the matching files below a folder, which is listed at most once."""
    leaves = [first for first, *rest in patterns if not rest]
    inner: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in patterns:
        if rest:
            inner.setdefault(first, []).append(tuple(rest))
    names = _list_names(files, folder) if leaves or any(map(has_wildcards, inner)) else []
    start = f"{folder}/" if folder else ""
    for name in names:
        if any(fnmatchcase(name, leaf) for leaf in leaves):
            yield f"{start}{name}"
    # A folder whose name is given may be missing among the names of its parent.
    for name in dict.fromkeys([*names, *(each for each in inner if not has_wildcards(each))]):
        below = [rest for first, each in inner.items() if fnmatchcase(name, first) for rest in each]
        if below:
            yield from _find_below(files, f"{start}{name}", below)


def _list_names(files: SystemFiles, folder: str) -> list[str]:
    """Return the names in a folder; none if it cannot be listed, as for a probe."""
    try:
        return files.list(folder)
    except OSError:
        return []

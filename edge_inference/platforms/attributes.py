"""Reading one attribute file: the kernel shows one text or number in each."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable

from edge_inference.core.reading import ReadingStatus
from edge_inference.errors import InputError
from edge_inference.platforms.system_files import SystemFiles

#: No number of the kernel has more digits; a longer text is not worth parsing.
_LONGEST_NUMBER = 24
_LONGEST_QUOTE = 40
#: Longer than any name that a driver gives.
_LONGEST_TEXT = 80
_VANISHED = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR}
_SWITCHED_OFF = {errno.EAGAIN, errno.ENODATA}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


def read_number(files: SystemFiles, path: str) -> int:
    """Return the whole number that a file holds.

    Raises OSError as the kernel gave it, InputError (a sentence) for anything else than a number.
    """
    data = files.read(path)
    try:
        if len(data) <= _LONGEST_NUMBER and b"_" not in data:
            return int(data)
    except ValueError:
        pass  # said below, with what came
    if not data.strip():
        raise InputError("the file is empty; expected a number")
    raise InputError(f"expected a number, got {_quoted(data)}")


def read_text(files: SystemFiles, path: str) -> str:
    """Return the text that a file holds, without white space around; empty where there is none."""
    try:
        data = files.read(path)
    except OSError:
        return ""
    return _printable(data)[:_LONGEST_TEXT]


def read_number_or_none(files: SystemFiles, path: str) -> int | None:
    """Return the number that a file holds; None where it cannot be read or is none."""
    try:
        return read_number(files, path)
    except (OSError, InputError):
        return None


def classify_error(error: OSError) -> tuple[ReadingStatus, str]:
    """Return what an error of reading means for a sensor, and a sentence on it."""
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in _SWITCHED_OFF:
        return ReadingStatus.GATED, f"the unit that it measures is switched off ({code})"
    if error.errno in _VANISHED:
        return ReadingStatus.ABSENT, f"it is not there any more ({code})"
    if error.errno in _FORBIDDEN:
        return ReadingStatus.INVALID, f"this user may not read it ({code}); allow it by a udev rule"
    return ReadingStatus.INVALID, f"reading failed: {error.strerror or 'no reason given'} ({code})"


def list_numbered(files: SystemFiles, folder: str, prefix: str) -> list[str]:
    """Return the paths of ``<prefix><number>`` in a folder, in the order of their numbers."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)")
    found = [match for name in files.list(folder) if (match := pattern.fullmatch(name))]
    return [f"{folder}/{match[0]}" for match in sorted(found, key=lambda match: int(match[1]))]


def make_unique(name: str, taken: Iterable[str]) -> str:
    """Return ``name``, or ``name#2``, ``name#3``, … where it is taken."""
    known = set(taken)
    candidate, count = name, 1
    while candidate in known:
        count += 1
        candidate = f"{name}#{count}"
    return candidate


def _printable(data: bytes) -> str:
    text = data.decode("utf-8", "replace").strip("\0 \t\r\n")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _quoted(data: bytes) -> str:
    text = _printable(data[: 2 * _LONGEST_QUOTE])
    return repr(text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…")

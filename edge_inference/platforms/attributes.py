"""Reading one sysfs attribute: a file that holds one text or number."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable

from edge_inference.core.reading import ReadingStatus
from edge_inference.errors import InputError
from edge_inference.platforms.system_files import SystemFiles

#: No number of the kernel has more digits, so a longer text is not parsed.
_MAX_NUMBER_BYTES = 24
#: Neither ``nan``, ``inf`` and ``1_000``, which float() accepts, nor more than a number.
_DECIMAL = re.compile(rb"\s*[-+]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})([eE][-+]?\d{1,2})?\s*")
_MAX_QUOTE_CHARS = 40
#: Longer than any name that a driver reports.
_MAX_TEXT_CHARS = 80
_VANISHED = {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR}
_SWITCHED_OFF = {errno.EAGAIN, errno.ENODATA}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


def read_number(files: SystemFiles, path: str) -> int:
    """Return the whole number in a file.

    Raises the kernel's OSError, or InputError (a sentence) if the content is not a number.
    """
    data = files.read(path)
    try:
        if len(data) <= _MAX_NUMBER_BYTES and b"_" not in data:
            return int(data)
    except ValueError:
        pass  # reported below, with the content
    if not data.strip():
        raise InputError("expected a number, got an empty file")
    raise InputError(f"expected a number, got {_quote(data)}")


def read_decimal(files: SystemFiles, path: str) -> float:
    """Return the decimal number in a file.

    Raises the kernel's OSError, or InputError (a sentence) if the content is not a number.
    """
    data = files.read(path)
    if is_decimal(data):
        return float(data)
    if not data.strip():
        raise InputError("expected a number, got an empty file")
    raise InputError(f"expected a number, got {_quote(data)}")


def is_decimal(data: bytes) -> bool:
    """Tell whether a file's content is one decimal number."""
    return _DECIMAL.fullmatch(data) is not None


def read_text(files: SystemFiles, path: str) -> str:
    """Return the stripped text in a file; empty if the file cannot be read."""
    try:
        data = files.read(path)
    except OSError:
        return ""
    return _to_printable(data)[:_MAX_TEXT_CHARS]


def read_number_or_none(files: SystemFiles, path: str) -> int | None:
    """Return the number in a file; None if it cannot be read or is not a number."""
    try:
        return read_number(files, path)
    except (OSError, InputError):
        return None


def classify_error(error: OSError) -> tuple[ReadingStatus, str]:
    """Return the status of a reading whose file cannot be read, and the reason as a sentence."""
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in _SWITCHED_OFF:
        return ReadingStatus.GATED, f"the measured unit is powered off ({code})"
    if error.errno in _VANISHED:
        return ReadingStatus.ABSENT, f"the sensor no longer exists ({code})"
    if error.errno in _FORBIDDEN:
        return ReadingStatus.INVALID, f"this user may not read it ({code}); allow it by a udev rule"
    return ReadingStatus.INVALID, f"reading failed: {error.strerror or 'unknown error'} ({code})"


def list_numbered(files: SystemFiles, folder: str, prefix: str) -> list[str]:
    """Return the paths of ``<prefix><number>`` in a folder, sorted by number."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)")
    found = [match for name in files.list(folder) if (match := pattern.fullmatch(name))]
    return [f"{folder}/{match[0]}" for match in sorted(found, key=lambda match: int(match[1]))]


def make_unique(name: str, taken: Iterable[str]) -> str:
    """Return ``name``, or ``name#2``, ``name#3``, … if it is taken."""
    known = set(taken)
    candidate, count = name, 1
    while candidate in known:
        count += 1
        candidate = f"{name}#{count}"
    return candidate


def _to_printable(data: bytes) -> str:
    text = data.decode("utf-8", "replace").strip("\0 \t\r\n")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _quote(data: bytes) -> str:
    text = _to_printable(data[: 2 * _MAX_QUOTE_CHARS])
    return repr(text if len(text) <= _MAX_QUOTE_CHARS else f"{text[:_MAX_QUOTE_CHARS]}…")

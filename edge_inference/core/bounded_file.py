"""Reads untrusted files within bounds.

Opening a pipe waits for a writer, a device never ends, and a sparse file of a few blocks can have
any length. Each is refused with an OSError whose ``strerror`` says why, like that of the kernel.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

#: Maximum size of text files: settings, labels, tables.
MAX_TEXT_BYTES = 1 << 20
#: Maximum size of a file of weights, which is that of a protobuf message.
MAX_WEIGHTS_BYTES = (1 << 31) - 1
#: For files that may have any size, and of which only parts are read.
ANY_SIZE = 1 << 62

_MAX_DIGITS = 100


def open_regular_file(file: Path, max_bytes: int) -> IO[bytes]:
    """Open a regular file of at most ``max_bytes``. Raises OSError for anything else."""
    try:
        # Checked before it is opened, since opening a device can have effects.
        _check_regular(file, file.stat(), max_bytes)
        # O_NONBLOCK: if a pipe replaces the file in between, open must not wait.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL, or an unpaired surrogate
        raise OSError(errno.EINVAL, f"not a valid file name ({error})", str(file)) from error
    try:
        _check_regular(file, os.fstat(descriptor), max_bytes)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_regular_file(file: Path) -> bool:
    """Tell whether a regular file exists. False for an invalid name or a forbidden folder."""
    return os.path.isfile(file)  # noqa: PTH113 - Path.is_file raises for some of these names


def is_there(file: Path) -> bool:
    """Tell whether a file or folder exists. False for an invalid name or a forbidden folder."""
    return os.path.exists(file)  # noqa: PTH110 - Path.exists raises for some of these names


def read_bytes(file: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file of at most ``max_bytes``. Raises OSError."""
    with open_regular_file(file, max_bytes) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:  # it has grown, or has no length, as in /proc
        raise _size_error(file, len(data), max_bytes)
    return data


def read_text(file: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return the UTF-8 text of a regular file of at most ``max_bytes``. Raises OSError.

    Line ends become one character each, as in Python's text files. A byte order mark, which some
    editors write, is removed.
    """
    try:
        text = read_bytes(file, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(
            errno.EILSEQ, f"not UTF-8 text: byte {error.start} {error.reason}", str(file)
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(file: Path, max_bytes: int = MAX_TEXT_BYTES) -> Any:
    """Return the content of a JSON file. Raises OSError, and ValueError for invalid JSON."""
    return parse_json(read_text(file, max_bytes))


def parse_json(text: str) -> Any:
    """Return the content of a JSON text. Raises ValueError for invalid JSON.

    Nesting deeper than Python's recursion limit, NaN and infinity, and numbers of more than 100
    digits are invalid, too.
    """
    try:
        return json.loads(text, parse_int=_parse_integer, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep to be read") from error


def _parse_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits; expected at most {_MAX_DIGITS}")
    return int(digits)


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not valid JSON")


def _check_regular(file: Path, status: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(
            errno.EINVAL, f"expected a file, got {_describe_kind(status.st_mode)}", str(file)
        )
    if status.st_size > max_bytes:
        raise _size_error(file, status.st_size, max_bytes)


def _size_error(file: Path, size: int, max_bytes: int) -> OSError:
    return OSError(errno.EFBIG, f"expected at most {max_bytes} bytes, got {size}", str(file))


def _describe_kind(mode: int) -> str:
    for is_kind, kind in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_kind(mode):
            return kind
    return "something else"

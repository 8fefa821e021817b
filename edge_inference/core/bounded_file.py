"""Files from outside, read within bounds: nobody knows what lies under a name that was given.

A pipe would wait for its writer, a device never ends, and a sparse file of a few blocks claims any
length. Each is refused by an OSError, whose ``strerror`` says why in words, as the kernel's does.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

#: Most bytes of what people write: settings, labels, tables.
MAX_TEXT_BYTES = 1 << 20
#: Most bytes of weights in one file: what protobuf, and so ONNX, can hold.
MAX_WEIGHTS_BYTES = (1 << 31) - 1

_LONGEST_NUMBER = 100


def open_regular_file(file: Path, at_most: int) -> IO[bytes]:
    """Open a plain file of at most so many bytes. Raises OSError for whatever else is there."""
    try:
        # Looked at before it is opened: that alone may set off a device.
        _expect_plain(file, file.stat(), at_most)
        # Who exchanges it in between for a pipe must not have us wait.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise OSError(errno.EINVAL, f"no name of a file ({error})", str(file)) from error
    try:
        _expect_plain(file, os.fstat(descriptor), at_most)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_regular_file(file: Path) -> bool:
    """Tell whether there is a file; not for a name that none can have, or that we may not ask."""
    return os.path.isfile(file)  # noqa: PTH113 - the method raises for some of these names


def read_bytes(file: Path, at_most: int) -> bytes:
    """Return the content of a plain file of at most so many bytes. Raises OSError."""
    with open_regular_file(file, at_most) as stream:
        data = stream.read(at_most + 1)
    if len(data) > at_most:  # it has grown, or its length was not told, as in /proc
        raise _too_large(file, len(data), at_most)
    return data


def read_text(file: Path, at_most: int = MAX_TEXT_BYTES) -> str:
    """Return the text of a plain file in UTF-8 of at most so many bytes. Raises OSError.

    Line ends become one character each, as Python's own text files have them, and a byte order
    mark, which some editors write, is none of the text.
    """
    try:
        text = read_bytes(file, at_most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(
            errno.EILSEQ, f"not UTF-8 text: byte {error.start} {error.reason}", str(file)
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(file: Path, at_most: int = MAX_TEXT_BYTES) -> Any:
    """Return what a JSON file holds. Raises OSError, and ValueError where it is no JSON."""
    return parse_json(read_text(file, at_most))


def parse_json(text: str) -> Any:
    """Return what a JSON text holds. Raises ValueError, also for what no file here has.

    That is nesting deeper than Python follows, a number that is none (NaN), and one so long that
    nothing can be done with it.
    """
    try:
        return json.loads(text, parse_int=_integer, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deep to be read") from error


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _expect_plain(file: Path, found: os.stat_result, at_most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"expected a file, got {_kind(found.st_mode)}", str(file))
    if found.st_size > at_most:
        raise _too_large(file, found.st_size, at_most)


def _too_large(file: Path, size: int, at_most: int) -> OSError:
    return OSError(errno.EFBIG, f"{size} bytes are too many; it has at most {at_most}", str(file))


def _kind(mode: int) -> str:
    for is_kind, word in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if is_kind(mode):
            return word
    return "something else"

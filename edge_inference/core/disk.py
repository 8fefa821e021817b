"""Checks whether a file can be written, and describes why not, with a hint."""

from __future__ import annotations

import errno
import resource
import tempfile
from pathlib import Path
from typing import IO

from edge_inference.errors import ConfigError

NO_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
NO_PERMISSION_ERRNOS = (errno.EROFS, errno.EACCES, errno.EPERM)
_PROBE_BYTES = 1 << 20
_EXISTS = "expected a new file, but it exists; remove it, or name another file"


def check_output_file(file: Path, option: str) -> None:
    """Raise ConfigError if a file could not be written later; ``option`` names it in the error."""
    folder = file.absolute().parent
    try:
        if file.is_dir():
            raise ConfigError(f"{option} {file}: expected the name of a file, got a folder")
        if not folder.is_dir():
            raise ConfigError(f"{option} {file}: its folder does not exist; make it first")
        if file.exists():
            file.open("ab").close()
        else:
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise ConfigError(
            f"{option} {file}: cannot be written ({describe_write_error(error)})"
        ) from error


def check_new_file(file: Path, option: str) -> None:
    """Raise ConfigError if a file exists or could not be written later; ``option`` names it."""
    check_output_file(file, option)
    if file.exists():
        raise ConfigError(f"{option} {file}: {_EXISTS}")


def create_file(file: Path) -> IO[bytes]:
    """Open a new file for writing; raises ConfigError if it exists or cannot be made."""
    try:
        return file.open("xb")
    except FileExistsError as error:
        raise ConfigError(f"{file}: {_EXISTS}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({describe_write_error(error)})") from error


def describe_write_error(error: OSError) -> str:
    """Return the system's message, and a hint for its cause."""
    message = error.strerror or str(error)
    if error.errno in NO_SPACE_ERRNOS:
        return f"{message}; free space there, or choose another disk"
    if error.errno == errno.EFBIG:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit != resource.RLIM_INFINITY:
            return f"{message}: this process may write {limit} bytes; allow more with ulimit -f"
    if error.errno in NO_PERMISSION_ERRNOS:
        return f"{message}; allow this user to write there"
    return message


def probe_write_error(file: Path) -> OSError | None:
    """Return the error that keeps a file from growing, None if it can grow.

    For libraries that write a file and hide the cause of a failure. The incomplete file must still
    be there, since it uses the space on the disk.
    """
    try:
        written = file.stat().st_size if file.exists() else 0
        with tempfile.TemporaryFile(dir=file.parent) as probe:
            probe.truncate(
                written + _PROBE_BYTES
            )  # checks the file size limit; a hole needs no space
            probe.write(b"\1" * _PROBE_BYTES)
            probe.flush()
    except OSError as error:
        return error
    return None

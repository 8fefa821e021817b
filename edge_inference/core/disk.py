"""Why a file cannot be written, in words: which bound it is, and what to do about it."""

from __future__ import annotations

import errno
import resource
import tempfile
from pathlib import Path

NO_SPACE_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
NO_PERMISSION_ERRNOS = (errno.EROFS, errno.EACCES, errno.EPERM)
_PROBE = 1 << 20


def describe_write_error(error: OSError) -> str:
    """Return the system's words, and a hint for that cause."""
    words = error.strerror or str(error)
    if error.errno in NO_SPACE_ERRNOS:
        return f"{words}; free space there, or choose another disk"
    if error.errno == errno.EFBIG:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        if limit != resource.RLIM_INFINITY:
            return f"{words}: this process may write {limit} bytes; allow more with ulimit -f"
    if error.errno in NO_PERMISSION_ERRNOS:
        return f"{words}; allow this user to write there"
    return words


def probe_write_error(file: Path) -> OSError | None:
    """Return what keeps a file from growing, None where nothing does.

    For a library that writes itself and says nothing of the cause. What it has left is kept in
    place meanwhile, as it is what fills the disk.
    """
    try:
        written = file.stat().st_size if file.exists() else 0
        with tempfile.TemporaryFile(dir=file.parent) as probe:
            probe.truncate(written + _PROBE)  # for a limit; a hole takes no room
            probe.write(b"\1" * _PROBE)
            probe.flush()
    except OSError as error:
        return error
    return None

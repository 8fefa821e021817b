"""Locks between processes: one a file, free at once when its holder ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_inference.errors import CacheError

_POLL_S = 0.05
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


@contextmanager
def exclusive_lock(file: Path, cancelled: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock file for the block; wait for it where another process or thread has it.

    ``cancelled`` is asked several times a second; where it says yes, CacheError
    is raised. The lock file exists only while it is held (or after its holder
    was killed). A process forked inside the block shares the lock until it ends.
    Raises CacheError too on a file system without locks.
    """
    while (descriptor := _taken(file)) is None:
        if cancelled():
            raise CacheError(f"{file}: cancelled while another process was at work on this entry")
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        _give_back(file, descriptor)


@contextmanager
def try_exclusive_lock(file: Path) -> Iterator[bool]:
    """Hold a lock file for the block if it is free; tell whether it was."""
    descriptor = _taken(file)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _give_back(file, descriptor)


@contextmanager
def shared_folder_lock(folder: Path) -> Iterator[bool]:
    """Mark a folder as used for the block, together with others; tell whether it is there still."""
    with _folder_lock(folder, fcntl.LOCK_SH) as held:
        yield held


@contextmanager
def try_exclusive_folder_lock(folder: Path) -> Iterator[bool]:
    """Keep a folder from being used for the block; tell whether nobody uses it and it is there."""
    with _folder_lock(folder, fcntl.LOCK_EX) as held:
        yield held


@contextmanager
def _folder_lock(folder: Path, kind: int) -> Iterator[bool]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    try:
        yield _lock(folder, descriptor, kind) and _is_still(folder, descriptor)
    finally:
        os.close(descriptor)


def _taken(file: Path) -> int | None:
    """Return the descriptor that holds the lock, or None where another holds it."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(file, descriptor, fcntl.LOCK_EX):
                os.close(descriptor)
                return None
            if _is_still(file, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder deleted the file between our opening and locking


def _give_back(file: Path, descriptor: int) -> None:
    """Delete the lock file while it is held, so that nobody can hold it without noticing."""
    try:
        with suppress(OSError):  # a lock file that stays does no harm
            if _is_still(file, descriptor):
                file.unlink()
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may have the descriptor too
        os.close(descriptor)


def _lock(path: Path, descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise CacheError(
            f"{path}: this file system has no file locks ({error.strerror}); put the cache on a "
            "local disk with $EDGE_INFERENCE_CACHE"
        ) from error
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether the path leads to what was opened, not to a successor or to nothing."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

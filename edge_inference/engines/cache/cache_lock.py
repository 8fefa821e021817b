"""Locks between processes, one file each; the kernel frees a lock when its process ends."""

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
    """Hold a lock file during the block; wait while another process or thread holds it.

    The wait calls ``cancelled`` several times a second and raises CacheError if it returns
    True. The lock file exists only while the lock is held, or after its holder was killed. A
    process forked inside the block shares the lock until it ends. Raises CacheError also on a
    file system without locks.
    """
    while (descriptor := _try_lock(file)) is None:
        if cancelled():
            raise CacheError(
                f"{file}: cancelled while waiting for another process that makes this entry"
            )
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        _release(file, descriptor)


@contextmanager
def try_exclusive_lock(file: Path) -> Iterator[bool]:
    """Hold a lock file during the block if it is free; yield whether it is held."""
    descriptor = _try_lock(file)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            _release(file, descriptor)


@contextmanager
def shared_folder_lock(folder: Path) -> Iterator[bool]:
    """Lock a folder against removal during the block; yield False where it does not exist."""
    with _folder_lock(folder, fcntl.LOCK_SH) as held:
        yield held


@contextmanager
def try_exclusive_folder_lock(folder: Path) -> Iterator[bool]:
    """Lock a folder for removal during the block; yield False where it is in use or missing."""
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
        yield _lock(folder, descriptor, kind) and _is_same_file(folder, descriptor)
    finally:
        os.close(descriptor)


def _try_lock(file: Path) -> int | None:
    """Return the descriptor that holds the lock, or None where another process holds it."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(file, descriptor, fcntl.LOCK_EX):
                os.close(descriptor)
                return None
            if _is_same_file(file, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the last holder deleted the file between open and lock


def _release(file: Path, descriptor: int) -> None:
    """Delete the lock file while the lock is held, then free the lock."""
    try:
        with suppress(OSError):  # a lock file that remains does no harm
            if _is_same_file(file, descriptor):
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


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Tell whether the path still is the opened file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

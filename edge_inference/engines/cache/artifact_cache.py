"""The cache of built things: engines, derived models, whatever takes long to make.

A key stands for everything that changes the content, so an entry never goes
stale; what is not asked for any more is removed when the cache grows too
large. On the disk::

    <folder>/<label>-<first 16 digits of the key>/   entry.json and the files
    <folder>/.locks/                                 one file for each key being made
    <folder>/.making/                                entries half made, or half removed

An entry is made in a folder of its own and gets its name by one rename after
everything is on the disk: it is complete or not there. What a killed process
leaves behind is removed by the next one that asks for anything.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_inference.core.disk import NO_PERMISSION_ERRNOS, NO_SPACE_ERRNOS, describe_write_error
from edge_inference.engines.cache import cache_entry, cache_lock
from edge_inference.engines.cache.cache_entry import CacheEntry, FileRecord
from edge_inference.engines.cache.cache_folder import CACHE_VARIABLE, default_cache_folder
from edge_inference.errors import CacheError

__all__ = [
    "DEFAULT_LIMIT_BYTES",
    "ArtifactCache",
    "CacheEntry",
    "FileRecord",
    "default_cache_folder",
    "key_of",
]

#: Room for some hundred engines of small models, or for about ten large ones.
DEFAULT_LIMIT_BYTES = 8 << 30

Make = Callable[[Path], Mapping[str, Any]]

_LOCKS = ".locks"
_MAKING = ".making"
_ENTRY_NAME = re.compile(r"[\w.-]+-(?P<digits>[0-9a-f]{16})", re.ASCII)
_LEFT_NAME = re.compile(_ENTRY_NAME.pattern + r"\.[0-9a-f]{8}(?P<gone>\.gone)?", re.ASCII)


def _never() -> bool:
    return False


def _unsaid(_sentence: str) -> None:
    """Report to nobody."""


class ArtifactCache:
    """A cache folder, shared by any number of processes and threads.

    The folder need not exist. One that cannot be written still gives the
    entries that it has.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take a folder and how large it may grow (``DEFAULT_LIMIT_BYTES`` if None)."""
        self.folder = Path(folder)
        self.limit_bytes = DEFAULT_LIMIT_BYTES if limit_bytes is None else limit_bytes
        self._clock = clock

    def find(self, key: str) -> CacheEntry | None:
        """Return the entry, marked as used just now, or None.

        The files' lengths are checked, not their content: ``Entry.read`` and
        ``Entry.verify`` do that. Raises CacheError for a damaged entry.
        """
        entry = self._read(key)
        return None if entry is None else self._used(entry)

    def get_or_make(
        self,
        key: str,
        make: Make,
        *,
        label: str = "entry",
        cancelled: Callable[[], bool] = _never,
        report: Callable[[str], None] = _unsaid,
    ) -> CacheEntry:
        """Return the intact entry of a key; where there is none, make it.

        ``make(folder)`` writes plain files into an empty folder and returns
        metadata that JSON can hold; whatever it raises passes through and
        leaves nothing. One process makes, the others wait for it and then read
        the same entry; ``cancelled`` ends the waiting. ``label`` is for people:
        the folder's name starts with it. A damaged entry is made anew, and
        ``report`` gets the sentence that says what was wrong.

        Raises CacheError for a folder that cannot be written, a full disk, a
        file system without locks, and for a cancelled wait. The caller then
        does without: nothing was made that could be returned.
        """
        entry = self._intact(key, _unsaid)
        if entry is None:
            with ExitStack() as alone:
                with self._writing():
                    lock = self._lock_file(key[:16])
                    alone.enter_context(cache_lock.only_one(lock, cancelled))
                entry = self._intact(key, report) or self._make(key, make, label)
        self._sweep()
        return self._used(entry)

    def remove(self, key: str) -> bool:
        """Remove an entry, damaged or not; tell whether there was one.

        Raises CacheError where it is in use or cannot be removed.
        """
        removed = False
        for folder in self._folders(key):
            with self._writing():
                gone = self._remove(folder)
            if not gone and folder.is_dir():
                raise CacheError(
                    f"{folder}: this cache entry is in use; end the process that uses it first"
                )
            removed = removed or gone
        return removed

    def entries(self) -> list[CacheEntry]:
        """Return the entries whose description and file lengths are right, last used first."""
        return [entry for entry, _ in self._survey() if entry is not None]

    def faults(self) -> list[str]:
        """Return a sentence for each entry that ``entries`` leaves out."""
        return [fault for _, fault in self._survey() if fault]

    def clean(self, limit_bytes: int | None = None) -> list[str]:
        """Remove damaged entries, left-overs, and what exceeds the limit, least used first.

        ``limit_bytes`` replaces the cache's own; 0 empties the cache. Every
        file is read and checked. Entries in use stay. Returns the names of the
        removed entries; raises CacheError where the folder cannot be written.
        """
        with self._writing():
            removed = [folder.name for folder in self._folders() if self._is_damaged(folder)]
            removed = [name for name in removed if self._remove(self.folder / name)]
            removed += self._trim(self.limit_bytes if limit_bytes is None else limit_bytes)
            self._sweep()
            self._sweep_locks()
        return removed

    def _read(self, key: str) -> CacheEntry | None:
        """Return the first sound entry of a key; raise the CacheError of a damaged one."""
        fault = None
        for folder in self._folders(key):
            try:
                entry = _sound(folder, key)
            except CacheError as error:
                fault = fault or error
            else:
                if entry is not None:
                    return entry
        if fault is not None:
            raise fault
        return None

    def _intact(self, key: str, report: Callable[[str], None]) -> CacheEntry | None:
        """Return the entry of a key after reading all of it, or None; report what is damaged."""
        try:
            entry = self._read(key)
            if entry is not None:
                entry.verify()
        except CacheError as error:
            report(str(error))
            return None
        return entry

    def _make(self, key: str, make: Make, label: str) -> CacheEntry:
        """Make and publish an entry; the caller holds the lock of its key."""
        name = f"{_plain(label)}-{key[:16]}"
        folder = self.folder / name
        with self._writing():
            self._sweep(own=key[:16])
            private = self._private(_MAKING) / f"{name}.{secrets.token_hex(4)}"
            private.mkdir()
        try:
            metadata = self._made(make, private)
            with self._writing():
                cache_entry.write_sidecar(private, key, metadata, self._clock())
                for damaged in self._folders(key):
                    self._discard(damaged)
                private.rename(folder)
                cache_entry.flush(self.folder)
        except BaseException:
            shutil.rmtree(private, ignore_errors=True)  # what stays is swept by the next one
            raise
        entry = self._read(key)
        if entry is None:
            raise CacheError(f"{folder}: the entry vanished just after it was made; make it again")
        self._trim(self.limit_bytes, keep=folder)
        return entry

    def _made(self, make: Make, private: Path) -> Mapping[str, Any]:
        """Let the caller make; only a disk without room is the cache's own affair."""
        try:
            return make(private)
        except OSError as error:
            if error.errno in (*NO_SPACE_ERRNOS, errno.EFBIG):
                raise self._refusal(error) from error
            raise

    def _trim(self, limit_bytes: int, keep: Path | None = None) -> list[str]:
        """Remove the least recently used entries beyond the limit; return their names.

        ``keep`` is the entry just made.
        """
        known = sorted(
            ((*found, folder) for folder in self._folders() if (found := _use_and_size(folder))),
            reverse=True,
        )
        total, removed = sum(size for _, size, _ in known), []
        while known and total > limit_bytes:
            _, size, folder = known.pop()
            if folder == keep:
                continue
            try:
                gone = self._remove(folder)
            except OSError:
                if keep is None:
                    raise
                continue  # another user's: it stays, and what was made is of use all the same
            if gone:
                removed.append(folder.name)
                total -= size
        return removed

    def _remove(self, folder: Path) -> bool:
        """Remove an entry unless it is in use or being made anew; tell whether it was removed."""
        with (
            cache_lock.only_one_at_once(self._lock_file(folder.name[-16:])) as alone,
            cache_lock.unused(folder) as unused,
        ):
            if not (alone and unused):
                return False
            self._discard(folder)
        return True

    def _discard(self, folder: Path) -> None:
        """Take an entry out of sight in one step, then delete it."""
        gone = self._private(_MAKING) / f"{folder.name}.{secrets.token_hex(4)}.gone"
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)  # what stays is swept by the next one

    def _sweep(self, own: str = "") -> None:
        """Delete what ended processes left; ``own`` are the digits of the key locked here."""
        for left in _listed(self.folder / _MAKING):
            match = _LEFT_NAME.fullmatch(left.name)
            if match is None:
                continue
            if match["gone"] or match["digits"] == own:
                shutil.rmtree(left, ignore_errors=True)
                continue
            with (
                suppress(OSError, CacheError),  # it is another user's: it stays
                cache_lock.only_one_at_once(self._lock_file(match["digits"])) as ended,
            ):
                if ended:
                    shutil.rmtree(left, ignore_errors=True)

    def _sweep_locks(self) -> None:
        """Delete the lock files of killed processes."""
        for file in _listed(self.folder / _LOCKS):
            with suppress(OSError), cache_lock.only_one_at_once(file):
                pass  # giving a lock back deletes its file

    def _survey(self) -> list[tuple[CacheEntry | None, str]]:
        found: list[tuple[CacheEntry | None, str]] = []
        for folder in self._folders():
            try:
                found.append((_sound(folder), ""))
            except CacheError as error:
                found.append((None, str(error)))
        return sorted(found, key=lambda pair: pair[0].used_s if pair[0] else 0.0, reverse=True)

    def _is_damaged(self, folder: Path) -> bool:
        try:
            entry = _sound(folder)
            if entry is not None:
                entry.verify()
        except CacheError:
            return folder.is_dir()
        return False

    def _folders(self, key: str | None = None) -> list[Path]:
        """Return the folders of all entries, or of one key, in order of their names."""
        if key is not None and not re.fullmatch(r"[0-9a-f]{64}", key):
            raise ValueError(f"a key has 64 hexadecimal digits (see key_of), got {key!r}")
        try:
            found = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CacheError(
                f"{self.folder}: the cache cannot be listed ({error.strerror}); choose another "
                f"folder with ${CACHE_VARIABLE}"
            ) from error
        matches = ((folder, _ENTRY_NAME.fullmatch(folder.name)) for folder in found)
        return [
            folder
            for folder, match in matches
            if match and (key is None or match["digits"] == key[:16]) and folder.is_dir()
        ]

    def _lock_file(self, digits: str) -> Path:
        return self._private(_LOCKS) / digits

    def _private(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _used(self, entry: CacheEntry) -> CacheEntry:
        """Note that an entry was used just now."""
        now = self._clock()
        try:
            os.utime(entry.folder / cache_entry.SIDECAR, (now, now))
        except OSError:  # in a cache that this user may only read
            return entry
        return dataclasses.replace(entry, used_s=now)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a refusal of the file system into a sentence."""
        try:
            yield
        except OSError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: OSError) -> CacheError:
        mend = f"choose another folder with ${CACHE_VARIABLE}"
        words = error.strerror
        if error.errno in NO_SPACE_ERRNOS:
            mend = f"free space, run `edge-inference engine clean`, or {mend}"
        elif error.errno in NO_PERMISSION_ERRNOS:
            mend = f"allow this user to write there, or {mend}"
        else:
            words = describe_write_error(error)
        return CacheError(f"{self.folder}: the cache cannot be written ({words}); {mend}")


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the sha256 over the parts, which are what JSON can hold; their order is nothing."""
    return hashlib.sha256(cache_entry.canonical(parts).encode()).hexdigest()


def _sound(folder: Path, key: str | None = None) -> CacheEntry | None:
    """Read an entry and check its files' lengths; None where it was removed meanwhile."""
    entry = cache_entry.read_entry(folder, key)
    try:
        if entry is not None:
            entry.verify_sizes()
    except CacheError:
        if folder.is_dir():
            raise
        return None
    return entry


def _use_and_size(folder: Path) -> tuple[float, int] | None:
    """Return when an entry was used last and its bytes, damaged or not.

    None where it was removed meanwhile, or is another user's that cannot be read.
    """
    try:
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        described = cache_entry.SIDECAR in sizes  # if not it is of no use: first to go
        used_s = (folder / cache_entry.SIDECAR).stat().st_mtime if described else 0.0
    except OSError:
        return None
    return used_s, sum(sizes.values())


def _listed(folder: Path) -> list[Path]:
    """List a folder that need not be there."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _plain(label: str) -> str:
    """Return a label as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", label, flags=re.ASCII)[:80].strip("._-") or "entry"

"""The cache of artifacts on disk: engines, derived models.

The key of an entry covers everything that changes the content, so an entry never becomes
stale. When the cache grows too large, it removes the least recently used entries. On disk::

    <folder>/<label>-<first 16 digits of the key>/   entry.json and the files
    <folder>/.locks/                                 one file for each key in the making
    <folder>/.making/                                incomplete and half-removed entries

An entry is made in a temporary folder, flushed to disk and then renamed: it is complete or
absent. The next caller removes what a killed process left.
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

#: Enough for some hundred engines of small models, or about ten large ones.
DEFAULT_LIMIT_BYTES = 8 << 30

Make = Callable[[Path], Mapping[str, Any]]

_LOCKS = ".locks"
_MAKING = ".making"
_ENTRY_NAME = re.compile(r"[\w.-]+-(?P<digits>[0-9a-f]{16})", re.ASCII)
_LEFTOVER_NAME = re.compile(_ENTRY_NAME.pattern + r"\.[0-9a-f]{8}(?P<gone>\.gone)?", re.ASCII)


def _never() -> bool:
    return False


def _ignore(_message: str) -> None:
    """Ignore a report."""


class ArtifactCache:
    """A cache folder, shared by any number of processes and threads.

    The folder need not exist. A read-only folder still provides its entries.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use a folder that may grow to ``limit_bytes`` (``DEFAULT_LIMIT_BYTES`` if None)."""
        self.folder = Path(folder)
        self.limit_bytes = DEFAULT_LIMIT_BYTES if limit_bytes is None else limit_bytes
        self._clock = clock

    def find(self, key: str) -> CacheEntry | None:
        """Return the entry, or None; update its time of use.

        The lengths of the files are checked, not their content: ``CacheEntry.read`` and
        ``CacheEntry.verify`` do that. Raises CacheError for a damaged entry.
        """
        entry = self._read(key)
        return None if entry is None else self._touch(entry)

    def get_or_make(
        self,
        key: str,
        make: Make,
        *,
        label: str = "entry",
        cancelled: Callable[[], bool] = _never,
        report: Callable[[str], None] = _ignore,
    ) -> CacheEntry:
        """Return the intact entry of a key; make it if there is none.

        ``make(folder)`` writes plain files into an empty folder and returns metadata for JSON;
        its errors pass through and leave nothing. One process makes the entry; the others wait
        and then read it. ``cancelled`` ends the wait. The folder's name begins with ``label``.
        A damaged entry is made again, and ``report`` gets its error.

        Raises CacheError for a folder that cannot be written, a full disk, a file system
        without locks, and a cancelled wait. Nothing was made then.
        """
        entry = self._find_intact(key, _ignore)
        if entry is None:
            with ExitStack() as lock_scope:
                with self._writing():
                    lock = self._lock_file(key[:16])
                    lock_scope.enter_context(cache_lock.exclusive_lock(lock, cancelled))
                entry = self._find_intact(key, report) or self._make(key, make, label)
        self._sweep()
        return self._touch(entry)

    def remove(self, key: str) -> bool:
        """Remove an entry, damaged or not; return whether there was one.

        Raises CacheError where it is in use or cannot be removed.
        """
        was_removed = False
        for folder in self._folders(key):
            with self._writing():
                is_gone = self._remove(folder)
            if not is_gone and folder.is_dir():
                raise CacheError(
                    f"{folder}: this cache entry is in use; end the process that uses it first"
                )
            was_removed = was_removed or is_gone
        return was_removed

    def entries(self) -> list[CacheEntry]:
        """Return the entries with a valid sidecar and file lengths, last used first."""
        return [entry for entry, _ in self._survey() if entry is not None]

    def faults(self) -> list[str]:
        """Return the error of each entry that ``entries`` leaves out."""
        return [fault for _, fault in self._survey() if fault]

    def clean(self, limit_bytes: int | None = None) -> list[str]:
        """Remove damaged entries and leftovers, then the least recently used beyond the limit.

        ``limit_bytes`` replaces the limit of the cache; 0 empties it. Every file is read and
        verified. Entries in use stay. Returns the names of the removed entries. Raises
        CacheError where the folder cannot be written.
        """
        with self._writing():
            removed = [folder.name for folder in self._folders() if self._is_damaged(folder)]
            removed = [name for name in removed if self._remove(self.folder / name)]
            removed += self._trim(self.limit_bytes if limit_bytes is None else limit_bytes)
            self._sweep()
            self._sweep_locks()
        return removed

    def _read(self, key: str) -> CacheEntry | None:
        """Return the first valid entry of a key, or None; raise CacheError if all are damaged."""
        fault = None
        for folder in self._folders(key):
            try:
                entry = _read_checked(folder, key)
            except CacheError as error:
                fault = fault or error
            else:
                if entry is not None:
                    return entry
        if fault is not None:
            raise fault
        return None

    def _find_intact(self, key: str, report: Callable[[str], None]) -> CacheEntry | None:
        """Return the fully verified entry of a key, or None; report damage."""
        try:
            entry = self._read(key)
            if entry is not None:
                entry.verify()
        except CacheError as error:
            report(str(error))
            return None
        return entry

    def _make(self, key: str, make: Make, label: str) -> CacheEntry:
        """Make and publish an entry; the caller holds the lock of the key."""
        name = f"{_safe_name(label)}-{key[:16]}"
        folder = self.folder / name
        with self._writing():
            self._sweep(own=key[:16])
            temporary = self._internal_folder(_MAKING) / f"{name}.{secrets.token_hex(4)}"
            temporary.mkdir()
        try:
            metadata = self._call_make(make, temporary)
            with self._writing():
                cache_entry.write_sidecar(temporary, key, metadata, self._clock())
                for damaged in self._folders(key):
                    self._discard(damaged)
                folder.unlink(missing_ok=True)  # what has the entry's name, but is no folder
                temporary.rename(folder)
                cache_entry.flush(self.folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)  # the next sweep removes the rest
            raise
        entry = self._read(key)
        if entry is None:
            raise CacheError(f"{folder}: another process removed the new entry; make it again")
        self._trim(self.limit_bytes, keep=folder)
        return entry

    def _call_make(self, make: Make, temporary: Path) -> Mapping[str, Any]:
        """Call ``make``; a full disk becomes a CacheError, other errors pass through."""
        try:
            return make(temporary)
        except OSError as error:
            if error.errno in (*NO_SPACE_ERRNOS, errno.EFBIG):
                raise self._write_error(error) from error
            raise

    def _trim(self, limit_bytes: int, keep: Path | None = None) -> list[str]:
        """Remove the least recently used entries beyond the limit; return their names.

        ``keep`` is a new entry, which stays.
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
                continue  # the entry of another user stays; the new entry is usable
            if gone:
                removed.append(folder.name)
                total -= size
        return removed

    def _remove(self, folder: Path) -> bool:
        """Remove an entry that is neither in use nor being made; return whether it is removed."""
        with (
            cache_lock.try_exclusive_lock(self._lock_file(folder.name[-16:])) as has_key_lock,
            cache_lock.try_exclusive_folder_lock(folder) as has_folder_lock,
        ):
            if not (has_key_lock and has_folder_lock):
                return False
            self._discard(folder)
        return True

    def _discard(self, folder: Path) -> None:
        """Rename an entry out of the cache in one step, then delete it."""
        gone = self._internal_folder(_MAKING) / f"{folder.name}.{secrets.token_hex(4)}.gone"
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)  # the next sweep removes the rest

    def _sweep(self, own: str = "") -> None:
        """Delete what ended processes left; ``own`` are the digits of the key locked here."""
        for leftover in _list_files(self.folder / _MAKING):
            match = _LEFTOVER_NAME.fullmatch(leftover.name)
            if match is None:
                continue
            if match["gone"] or match["digits"] == own:
                shutil.rmtree(leftover, ignore_errors=True)
                continue
            with (
                suppress(OSError, CacheError),  # a leftover of another user stays
                cache_lock.try_exclusive_lock(self._lock_file(match["digits"])) as has_ended,
            ):
                if has_ended:
                    shutil.rmtree(leftover, ignore_errors=True)

    def _sweep_locks(self) -> None:
        """Delete the lock files of killed processes."""
        for file in _list_files(self.folder / _LOCKS):
            with suppress(OSError), cache_lock.try_exclusive_lock(file):
                pass  # releasing a lock deletes its file

    def _survey(self) -> list[tuple[CacheEntry | None, str]]:
        found: list[tuple[CacheEntry | None, str]] = []
        for folder in self._folders():
            try:
                found.append((_read_checked(folder), ""))
            except CacheError as error:
                found.append((None, str(error)))
        return sorted(found, key=lambda pair: pair[0].used_s if pair[0] else 0.0, reverse=True)

    def _is_damaged(self, folder: Path) -> bool:
        try:
            entry = _read_checked(folder)
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
        return self._internal_folder(_LOCKS) / digits

    def _internal_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _touch(self, entry: CacheEntry) -> CacheEntry:
        """Update the time of use of an entry."""
        now = self._clock()
        try:
            os.utime(entry.folder / cache_entry.SIDECAR, (now, now))
        except OSError:  # in a cache that this user may only read
            return entry
        return dataclasses.replace(entry, used_s=now)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an OSError of a write into a CacheError."""
        try:
            yield
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> CacheError:
        hint = f"choose another folder with ${CACHE_VARIABLE}"
        reason = error.strerror
        if error.errno in NO_SPACE_ERRNOS:
            hint = f"free space, run `edge-inference engine clean`, or {hint}"
        elif error.errno in NO_PERMISSION_ERRNOS:
            hint = f"allow this user to write there, or {hint}"
        else:
            reason = describe_write_error(error)
        return CacheError(f"{self.folder}: the cache cannot be written ({reason}); {hint}")


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the sha256 of the parts, which JSON must be able to hold, in any order."""
    return hashlib.sha256(cache_entry.canonical(parts).encode()).hexdigest()


def _read_checked(folder: Path, key: str | None = None) -> CacheEntry | None:
    """Read an entry and check its file lengths; None if another process removed it."""
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
    """Return the time of last use and the size of an entry, damaged or not.

    None if another process removed it, or if it is another user's and not readable.
    """
    try:
        sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
        described = cache_entry.SIDECAR in sizes  # an entry without one is removed first
        used_s = (folder / cache_entry.SIDECAR).stat().st_mtime if described else 0.0
    except OSError:
        return None
    return used_s, sum(sizes.values())


def _list_files(folder: Path) -> list[Path]:
    """List a folder; a missing one is empty."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _safe_name(label: str) -> str:
    """Return a label with characters that a file name may hold."""
    return re.sub(r"[^\w.-]+", "_", label, flags=re.ASCII)[:80].strip("._-") or "entry"

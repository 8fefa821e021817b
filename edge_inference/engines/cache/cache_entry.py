"""One entry of the cache: a folder of files and the sidecar that describes them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import parse_json, read_bytes, read_text
from edge_inference.core.checksum import sha256_of
from edge_inference.engines.cache import cache_lock
from edge_inference.errors import CacheError

SIDECAR = "entry.json"
FORMAT = 1

_MAX_SIDECAR_BYTES = 8 << 20
_MAX_TIME_S = 253_402_300_800  # the year 10000, in seconds since the epoch
_HINT = "run `edge-inference engine clean`; the entry is made again when it is needed"


@dataclass(frozen=True)
class FileRecord:
    """The expected length of a file in bytes and its sha256 in hexadecimal digits."""

    size: int
    sha256: str


@dataclass(frozen=True)
class CacheEntry:
    """A complete entry. ``files`` maps names to records; times are seconds since the epoch.

    Another process may remove the entry at any time, except inside ``hold()``.
    """

    key: str
    folder: Path
    files: Mapping[str, FileRecord]
    metadata: Mapping[str, Any]
    created_s: float
    used_s: float

    @property
    def size(self) -> int:
        """Bytes of all files, without the sidecar."""
        return sum(record.size for record in self.files.values())

    def path(self, name: str) -> Path:
        """Return the path of a file. Raises CacheError for a name that is not in the entry."""
        if name not in self.files:
            raise CacheError(
                f"{self.folder}: expected a file {name!r} in this cache entry, got "
                f"{', '.join(self.files) or 'none'}; {_HINT}"
            )
        return self.folder / name

    def read(self, name: str) -> bytes:
        """Return the verified bytes of a file. Raises CacheError."""
        file = self.path(name)
        try:
            _expect_size(file, self.files[name], file.stat().st_size)
            data = read_bytes(file, self.files[name].size)
        except OSError as error:
            raise unreadable(file, error) from error
        _expect_size(file, self.files[name], len(data))
        _expect_digest(file, self.files[name], hashlib.sha256(data).hexdigest())
        return data

    def verify(self) -> None:
        """Verify every file; raise CacheError for the first one that was changed."""
        self.verify_sizes()
        for name, record in self.files.items():
            file = self.folder / name
            try:
                found = sha256_of(file, record.size)
            except OSError as error:
                raise unreadable(file, error) from error
            _expect_digest(file, record, found)

    def verify_sizes(self) -> None:
        """Check the existence and length of every file, without reading them."""
        for name, record in self.files.items():
            file = self.folder / name
            try:
                size = file.stat().st_size
            except OSError as error:
                raise unreadable(file, error) from error
            _expect_size(file, record, size)

    @contextmanager
    def hold(self) -> Iterator[CacheEntry]:
        """Prevent the removal of the entry during the block. Raises CacheError if it is gone."""
        with cache_lock.shared_folder_lock(self.folder) as held:
            if not held:
                raise CacheError(
                    f"{self.folder}: this cache entry was removed by another process; request it "
                    "again"
                )
            yield self


def write_sidecar(folder: Path, key: str, metadata: Mapping[str, Any], created_s: float) -> None:
    """Write a sidecar for the files in a folder; flush them and the sidecar to disk.

    Raises ValueError for anything in the folder but plain files, and for metadata that JSON
    cannot hold: both are bugs of the caller.
    """
    files = {}
    for file in sorted(folder.iterdir()):
        if file.is_symlink() or not file.is_file() or file.name == SIDECAR:
            raise ValueError(f"{file}: an entry holds plain files only, none called {SIDECAR}")
        files[file.name] = {
            "size": file.stat().st_size,
            "sha256": sha256_of(file, file.stat().st_size),
        }
        flush(file)
    entry = {"key": key, "created_s": created_s, "files": files, "metadata": dict(metadata)}
    content = json.loads(
        canonical(entry)
    )  # as a reader gets it: JSON turns number keys into strings
    document = {"format": FORMAT, "checksum": _checksum(content), "entry": content}
    sidecar = folder / SIDECAR
    sidecar.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    flush(sidecar)
    flush(folder)


def read_entry(folder: Path, key: str | None = None) -> CacheEntry | None:
    """Read the entry in a folder, or return None where the folder does not exist.

    Files are not opened (see ``CacheEntry.verify``). Raises CacheError where the
    sidecar is missing, altered, of another version or made for another ``key``.
    """
    sidecar = folder / SIDECAR
    try:
        text = read_text(sidecar, _MAX_SIDECAR_BYTES)
        used_s = sidecar.stat().st_mtime
    except OSError as error:
        if not folder.is_dir():
            return None
        raise unreadable(sidecar, error) from error
    content = _content(sidecar, text)
    if key is not None and content["key"] != key:
        raise CacheError(
            f"{sidecar}: expected the entry of key {key}, got one of {content['key']:.80}; {_HINT}"
        )
    files = {name: FileRecord(**record) for name, record in content["files"].items()}
    return CacheEntry(
        content["key"], folder, files, content["metadata"], content["created_s"], used_s
    )


def canonical(value: Any) -> str:
    """Return canonical JSON: equal values give equal text. Raises for other values than JSON's."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unreadable(file: Path, error: OSError) -> CacheError:
    """Return the error for a file of an entry that is missing or cannot be read."""
    return CacheError(f"{file}: cannot be read ({error.strerror}); {_HINT}")


def _content(sidecar: Path, text: str) -> dict[str, Any]:
    """Check a sidecar's text and return its content."""
    try:
        document = parse_json(text)
    except ValueError as error:
        raise CacheError(f"{sidecar}: expected JSON, got another text; {_HINT}") from error
    version = document.get("format") if isinstance(document, dict) else None
    if version != FORMAT:
        raise CacheError(
            f"{sidecar}: expected a sidecar of format {FORMAT}, got {version!r:.80}; {_HINT}"
        )
    content = document.get("entry")
    expected = document.get("checksum")
    try:
        found = _checksum(content)
    except (ValueError, RecursionError) as error:  # an infinite number, or deep nesting
        raise CacheError(f"{sidecar}: the sidecar was altered: {error}; {_HINT}") from error
    if expected != found:
        raise CacheError(
            f"{sidecar}: the sidecar was altered: expected checksum {expected!s:.80}, got "
            f"{found}; {_HINT}"
        )
    # A valid checksum does not make the content valid: any writer can compute one.
    match content:
        case {"key": str(), "files": dict(files), "metadata": dict(), "created_s": created_s} if (
            _is_time(created_s)
        ):
            wrong = next((name for name in files if not _is_file(name, files[name])), None)
            if wrong is None:
                return dict(content)
            raise CacheError(
                f"{sidecar}: expected the size and sha256 of a file in this folder, got "
                f"{wrong!r:.80}: {files[wrong]!r:.200}; {_HINT}"
            )
    raise CacheError(
        f"{sidecar}: expected key, files, metadata and created_s of an entry, got "
        f"{content!r:.200}; {_HINT}"
    )


def _is_time(seconds: Any) -> bool:
    return (
        isinstance(seconds, int | float)
        and not isinstance(seconds, bool)
        and 0 <= seconds < _MAX_TIME_S
    )


def _is_file(name: str, record: Any) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    if name in ("", ".", "..", SIDECAR) or "/" in name or "\0" in name:
        return False
    match record:
        case {"size": int(size), "sha256": str(), **rest}:
            return not rest and not isinstance(size, bool) and size >= 0
    return False


def _checksum(content: Any) -> str:
    return hashlib.sha256(canonical([FORMAT, content]).encode()).hexdigest()


def _expect_size(file: Path, record: FileRecord, size: int) -> None:
    if size != record.size:
        raise CacheError(f"{file}: expected {record.size} bytes, got {size}; {_HINT}")


def _expect_digest(file: Path, record: FileRecord, found: str) -> None:
    if found != record.sha256:
        raise CacheError(
            f"{file}: the file was altered: expected sha256 {record.sha256}, got {found}; {_HINT}"
        )

"""The finished steps of recipes on disk, found by everything that changes their result."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

import edge_inference
from edge_inference.engines.cache.artifact_cache import ArtifactCache, key_of
from edge_inference.engines.cache.artifacts import Cancelled
from edge_inference.engines.cache.environment import machine_identity
from edge_inference.engines.precision.derivation import version_of
from edge_inference.errors import CacheError

#: Enough for some hundred steps of small networks; the oldest are removed first.
LIMIT_BYTES = 4 << 30
_CONTENT = "content.tar"
#: Packages of ours that change a step: preprocessing, engines, and the steps themselves.
_CODE_FOLDERS = ("core", "backends", "engines", "optimize")
_PACKAGES = ("torch", "torch-pruning", "onnx", "onnxruntime", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class StoredStep:
    """A finished step: its files in a folder, what it told about itself, and its origin.

    ``was_stored`` tells that an earlier run had finished it.
    """

    key: str
    folder: Path
    metadata: Mapping[str, Any]
    was_stored: bool


class StepStore:
    """The steps in a work folder, shared by any number of recipes and processes.

    A step is complete or absent, also after the process was killed. Its files are packed into
    one, whose checksum is verified when it is found. Use it as a context: the steps that it
    returned stay until the end. ``unpacked`` is a folder of this process; it is emptied.
    """

    def __init__(self, work: Path, unpacked: Path) -> None:
        self.cache = ArtifactCache(work, LIMIT_BYTES)
        self.machine = machine_identity()
        self._unpacked = unpacked
        self._held = ExitStack()

    def __enter__(self) -> StepStore:
        shutil.rmtree(self._unpacked, ignore_errors=True)  # of a killed process
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()
        shutil.rmtree(self._unpacked, ignore_errors=True)

    def has(self, parts: Mapping[str, Any]) -> bool:
        """Tell whether a step is finished. A damaged one is not."""
        try:
            return self.cache.find(key_of(parts)) is not None
        except CacheError:
            return False

    def get_or_make(
        self,
        parts: Mapping[str, Any],
        label: str,
        make: Callable[[Path], Mapping[str, Any]],
        cancelled: Cancelled,
    ) -> StoredStep:
        """Return a finished step; make it first if there is none.

        ``parts`` is everything that changes the result. ``make`` fills an empty folder and
        returns what JSON can hold. Its errors pass through and leave nothing. Raises CacheError
        for a work folder that cannot be written.
        """
        was_stored = True
        key = key_of(parts)

        def make_entry(folder: Path) -> Mapping[str, Any]:
            nonlocal was_stored
            was_stored = False
            # In the entry's own folder: the cache removes it if this process is killed.
            content = folder / "content"
            content.mkdir()
            metadata = make(content)
            _pack(content, folder / _CONTENT)
            shutil.rmtree(content)
            return metadata

        entry = self.cache.get_or_make(key, make_entry, label=label, cancelled=cancelled)
        self._held.enter_context(entry.hold())
        folder = self._unpacked / key[:16]
        if not folder.exists():
            _unpack(entry.read(_CONTENT), folder)
        return StoredStep(key, folder, entry.metadata, was_stored)


@functools.cache
def code_version() -> dict[str, str | None]:
    """Return the versions of the code that makes the steps, with a checksum of its files."""
    package = Path(edge_inference.__file__).parent
    digest = hashlib.sha256()
    for folder in _CODE_FOLDERS:
        for file in sorted((package / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return {
        "edge_inference": edge_inference.__version__,
        "files": digest.hexdigest(),
        **{name: version_of(name) for name in _PACKAGES},
    }


def folder_digest(folder: Path) -> str:
    """Return a sha256 over the names and the content of all files in a folder."""
    digest = hashlib.sha256()
    for file in _files(folder):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def as_plain(settings: Any) -> dict[str, Any]:
    """Return a settings object as values that JSON can hold."""
    values = dataclasses.asdict(settings)
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def _files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


def _pack(folder: Path, file: Path) -> None:
    """Pack the files of a folder; equal files give equal bytes."""
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for each in _files(folder):
            entry = tarfile.TarInfo(each.relative_to(folder).as_posix())
            entry.size = each.stat().st_size
            with each.open("rb") as stream:
                archive.addfile(entry, stream)


def _unpack(content: bytes, folder: Path) -> None:
    """Write the files of a packed folder. Raises CacheError for one that is outside of it."""
    folder.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            name = PurePosixPath(entry.name)
            stream = archive.extractfile(entry) if entry.isfile() else None
            if stream is None or name.is_absolute() or ".." in name.parts:
                raise CacheError(f"{entry.name!r}: expected a file of a finished step")
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as copy:
                shutil.copyfileobj(stream, copy)

"""The model folder that ``quantize`` writes: a copy of the model with the measured values."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from edge_inference.core.bounded_file import open_regular_file
from edge_inference.core.disk import describe_write_error
from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription, load_model
from edge_inference.core.onnx_format.onnx_files import MAX_EXTERNAL_BYTES, is_mostly_holes
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.yaml_edit import Value, set_values

CALIBRATION_FILE = "calibration.json"
DERIVE = "derive"
_MAX_FILES = 1000
_TOKEN_BYTES = 4


def find_output_problem(folder: Path, model: ModelDescription) -> str | None:
    """Return why a new model folder cannot be written there, None if it can."""
    if folder.exists() or folder.is_symlink():
        return "it exists already; name a new folder"
    if folder.resolve().is_relative_to(model.folder.resolve()):
        return "it is inside the model's own folder; name a folder outside of it"
    return None


class StagedFolder:
    """A copy of a model folder under a hidden name next to its destination.

    ``keep()`` moves it to the destination; the end of the context removes it otherwise.
    ``before_staging`` gets the hidden folder before it exists: a supervisor that kills this
    process can then remove it. If the supervisor is killed, too, the folder stays until the next
    StagedFolder for the same destination removes it.
    """

    def __init__(
        self,
        source: Path,
        destination: Path,
        before_staging: Callable[[Path], None] = lambda folder: None,
    ) -> None:
        self._source = source
        self._destination = destination
        self._before_staging = before_staging
        self._outer = destination.parent / staged_name(destination)
        #: Named like the destination, since the folder's name is the model's name.
        self.folder = self._outer / destination.resolve().name
        self._lock = -1

    def __enter__(self) -> StagedFolder:
        remove_abandoned(self._destination)
        self._before_staging(self._outer)
        try:
            self._outer.mkdir(parents=True)
            self._lock = lock_folder(self._outer)
            shutil.copytree(
                self._source, self.folder, ignore=_CopiedFiles(self._source), copy_function=_copy
            )
            # An installed model may be read-only.
            _add_permissions(self.folder, stat.S_IRWXU)
            _add_permissions(self.folder / DESCRIPTION_FILE, stat.S_IRUSR | stat.S_IWUSR)
        except OSError as error:
            self._remove()
            # shutil.Error of copytree has no errno, only the texts of all errors.
            reason = describe_write_error(error) if error.strerror else str(error.args[0][0][2])
            raise self._copy_error(reason) from error
        except _NotCopiedError as error:
            self._remove()
            raise self._copy_error(str(error)) from error
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def keep(self) -> None:
        """Move the folder to its destination. Raises ModelError if that exists by now."""
        if self._destination.exists():
            raise ModelError(
                f"{self._destination}: another process made it in the meantime; name another folder"
            )
        try:
            self.folder.rename(self._destination)
        except OSError as error:
            raise ModelError(
                f"{self._destination}: cannot be created ({error.strerror})"
            ) from error

    def write_derivation(self, values: Mapping[str, Value]) -> ModelDescription:
        """Set values in the section ``derive`` of the copy and return the model that it describes.

        The rest of ``model.yaml`` stays as it is, character by character. Raises ModelError if
        the file has a layout that cannot be edited.
        """
        file = self.folder / DESCRIPTION_FILE
        expected = load_yaml(file).plain()
        expected[DERIVE] = {**expected.get(DERIVE, {}), **_plain(values)}
        try:
            text = set_values(file.read_bytes().decode(), DERIVE, values)
            file.write_bytes(text.encode())
            got = load_yaml(file).plain()
        except ConfigError as error:
            raise _edit_error(self._source, values) from error
        except OSError as error:
            raise ModelError(
                f"{file}: cannot be written ({describe_write_error(error)})"
            ) from error
        if got != expected:
            raise _edit_error(self._source, values)
        return load_model(self.folder)

    def _copy_error(self, reason: str) -> ModelError:
        return ModelError(
            f"{self._source}: the model cannot be copied to {self._destination.parent} ({reason}); "
            "if that cannot be fixed, choose another output folder"
        )

    def _remove(self) -> None:
        shutil.rmtree(self._outer, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def staged_name(destination: Path) -> str:
    """Return a new hidden name for the folder that becomes ``destination``."""
    return f".{destination.name}.{secrets.token_hex(_TOKEN_BYTES)}"


def lock_folder(folder: Path) -> int:
    """Lock a folder until this process ends, or closes the returned descriptor.

    Raises OSError if another process has the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def remove_abandoned(destination: Path) -> None:
    """Remove staged folders of the same destination whose processes have ended."""
    pattern = re.compile(re.escape(f".{destination.name}.") + f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
    with suppress(OSError):  # the parent folder does not exist yet, or is not readable
        for folder in [*destination.parent.iterdir()]:
            if pattern.fullmatch(folder.name) is None:
                continue
            with suppress(OSError):  # another process has the lock
                lock = lock_folder(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


class _NotCopiedError(Exception):
    """A file cannot be written. Not an OSError: copytree collects those and continues."""


class _CopiedFiles:
    """Tells copytree which names to leave out. Raises ModelError for too many files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, folder: str, names: list[str]) -> list[str]:
        """Return the names in a folder that are not copied."""
        self._count += len(names)
        if self._count > _MAX_FILES:
            raise ModelError(
                f"{self._folder}: it has more than {_MAX_FILES} files, or links in a circle; "
                "keep only the model's own files in it"
            )
        return [name for name in names if name == "__pycache__"]


def _copy(source: str, destination: str) -> str:
    """Copy a regular file with its permissions.

    Raises OSError for anything but a regular file, ModelError for a sparse one,
    _NotCopiedError for a copy that cannot be written.
    """
    with open_regular_file(Path(source), MAX_EXTERNAL_BYTES) as stream:
        if is_mostly_holes(stream.fileno()):
            raise ModelError(f"{source}: expected data, got a sparse file; copy it again")
        try:
            with Path(destination).open("xb") as copy:
                shutil.copyfileobj(stream, copy)
        except OSError as error:
            raise _NotCopiedError(
                f"{Path(destination).name}: {describe_write_error(error)}"
            ) from error
    shutil.copymode(source, destination)
    return destination


def _add_permissions(path: Path, permissions: int) -> None:
    path.chmod(path.stat().st_mode | permissions)


def _plain(values: Mapping[str, Value]) -> dict[str, object]:
    return {key: value if isinstance(value, str) else list(value) for key, value in values.items()}


def _edit_error(folder: Path, values: Mapping[str, Value]) -> ModelError:
    return ModelError(
        f"{folder / DESCRIPTION_FILE}: its layout cannot be edited here; write it as lines of "
        f"`key: value`, with a section {DERIVE}: {_plain(values)}"
    )

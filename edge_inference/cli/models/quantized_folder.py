"""The model folder that ``quantize`` writes: a copy, with what was measured in it."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from edge_inference.cli.bounded_run import remove_with_child
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.models.yaml_edit import Value, set_values
from edge_inference.core.bounded_file import LARGEST_WEIGHTS, open_plain
from edge_inference.core.disk import why_not_written
from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription, load_model
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError, ModelError

CALIBRATION_FILE = "calibration.json"
DERIVE = "derive"
_MOST_FILES = 1000
_TOKEN_BYTES = 4


def new_folder(text: str, model: ModelDescription) -> Path:
    """Return where the new folder goes. Raises UsageError where it cannot go there."""
    try:
        folder = Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"--output {text}: no such user is known here") from error
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"--output {text}: it exists already; name a new folder")
    if folder.resolve().is_relative_to(model.folder.resolve()):
        raise UsageError(f"--output {text}: inside the model's own folder; name one outside of it")
    return folder


class StagedFolder:
    """A copy of a model folder under a hidden name, until it is worth its own.

    As a context manager it is gone in the end unless it was kept; so it is where the process that
    makes it is killed by who supervises it, and what is left of one that was killed with him goes
    when another one is made for the same place.
    """

    def __init__(self, source: Path, destination: Path) -> None:
        self._source = source
        self._destination = destination
        self._outer = destination.parent / f".{destination.name}.{secrets.token_hex(_TOKEN_BYTES)}"
        #: Has its final name already, which is the model's.
        self.folder = self._outer / destination.resolve().name
        self._lock = -1

    def __enter__(self) -> StagedFolder:
        _remove_left(self._destination)
        remove_with_child(self._outer)
        try:
            self._outer.mkdir(parents=True)
            self._lock = _locked(self._outer)
            shutil.copytree(
                self._source, self.folder, ignore=_CopiedFiles(self._source), copy_function=_copy
            )
            # An installed model may be read-only.
            _allow(self.folder, stat.S_IRWXU)
            _allow(self.folder / DESCRIPTION_FILE, stat.S_IRUSR | stat.S_IWUSR)
        except OSError as error:
            self._remove()
            # copytree gathers what it met, in words alone.
            words = why_not_written(error) if error.strerror else str(error.args[0][0][2])
            raise self._cannot_be_copied(words) from error
        except _NotCopiedError as error:
            self._remove()
            raise self._cannot_be_copied(str(error)) from error
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
        """Give the folder its name. Raises ModelError where somebody else has taken it."""
        if self._destination.exists():
            raise ModelError(f"{self._destination}: somebody else made it meanwhile; name another")
        try:
            self.folder.rename(self._destination)
        except OSError as error:
            raise ModelError(f"{self._destination}: cannot be made ({error.strerror})") from error

    def write_derivation(self, values: Mapping[str, Value]) -> ModelDescription:
        """Set values in the section ``derive`` of the copy and return what it describes then.

        Everything else in ``model.yaml`` stays as it is written. Raises ModelError
        where the file is written in a way in which that cannot be done.
        """
        file = self.folder / DESCRIPTION_FILE
        wanted = load_yaml(file).plain()
        wanted[DERIVE] = {**wanted.get(DERIVE, {}), **_plain(values)}
        try:
            text = set_values(file.read_bytes().decode(), DERIVE, values)
            file.write_bytes(text.encode())
            got = load_yaml(file).plain()
        except ConfigError as error:
            raise _by_hand(self._source, values) from error
        except OSError as error:
            raise ModelError(f"{file}: cannot be written ({why_not_written(error)})") from error
        if got != wanted:
            raise _by_hand(self._source, values)
        return load_model(self.folder)

    def _cannot_be_copied(self, words: str) -> ModelError:
        return ModelError(
            f"{self._source}: the model cannot be copied to {self._destination.parent} ({words}); "
            "choose another --output where that cannot be mended"
        )

    def _remove(self) -> None:
        shutil.rmtree(self._outer, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _locked(folder: Path) -> int:
    """Lock a folder for as long as this process lives. Raises OSError where another one does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_left(destination: Path) -> None:
    """Remove what processes that are gone have left of the same destination."""
    left = re.compile(re.escape(f".{destination.name}.") + f"[0-9a-f]{{{2 * _TOKEN_BYTES}}}")
    with suppress(OSError):  # there is no such folder yet, or none that we may read
        for folder in [*destination.parent.iterdir()]:
            if left.fullmatch(folder.name) is None:
                continue
            with suppress(OSError):  # somebody is at it
                lock = _locked(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


class _NotCopiedError(Exception):
    """A file that cannot be written; no OSError, which copytree would gather and go on."""


class _CopiedFiles:
    """Tells what of a folder is not copied; a folder without an end is a ModelError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, place: str, names: list[str]) -> list[str]:
        """Return which names in a place are left out."""
        self._count += len(names)
        if self._count > _MOST_FILES:
            raise ModelError(
                f"{self._folder}: more than {_MOST_FILES} files in it, or links in a circle; "
                "leave in it what belongs to the model"
            )
        return [name for name in names if name == "__pycache__"]


def _copy(source: str, destination: str) -> str:
    """Copy a plain file with its rights.

    Raises OSError for anything else, ModelError for one that is too large, _NotCopiedError.
    """
    size = Path(source).stat().st_size
    if size > LARGEST_WEIGHTS:
        raise ModelError(
            f"{source}: {size >> 20} MiB; expected at most {LARGEST_WEIGHTS >> 20} MiB in a file, "
            "to derive another precision; run the model as it is"
        )
    with open_plain(Path(source), LARGEST_WEIGHTS) as stream:
        try:
            with Path(destination).open("xb") as copy:
                shutil.copyfileobj(stream, copy)
        except OSError as error:
            raise _NotCopiedError(f"{Path(destination).name}: {why_not_written(error)}") from error
    shutil.copymode(source, destination)
    return destination


def _allow(path: Path, rights: int) -> None:
    path.chmod(path.stat().st_mode | rights)


def _plain(values: Mapping[str, Value]) -> dict[str, object]:
    return {key: value if isinstance(value, str) else list(value) for key, value in values.items()}


def _by_hand(folder: Path, values: Mapping[str, Value]) -> ModelError:
    return ModelError(
        f"{folder / DESCRIPTION_FILE}: written in a way that cannot be changed here; write it as "
        f"lines of `key: value`, with a section {DERIVE}: {_plain(values)}"
    )

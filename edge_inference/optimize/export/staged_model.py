"""The folder of a new model, written under a hidden name until it is proved to run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_inference.core.checksum import sha256_of
from edge_inference.core.label_file import parse_labels
from edge_inference.core.models.model import DESCRIPTION_FILE
from edge_inference.core.onnx_format.onnx_files import MAX_EXTERNAL_BYTES
from edge_inference.optimize.export.model_yaml import NewDescription
from edge_inference.optimize.quantized_folder import (
    lock_folder,
    remove_abandoned,
    staged_name,
)

LABELS_FILE = "labels.txt"


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether both exist and are one file."""
    return one.exists() and other.exists() and one.samefile(other)


class StagedModel:
    """The new folder under a hidden name beside its destination, until all of it is proved.

    ``before_staging`` gets the hidden folder before it exists: a supervisor that kills this
    process can then remove it. If nobody does, the next StagedModel for the same destination
    removes it. With ``replaces`` the files of an existing folder are replaced.
    """

    def __init__(
        self,
        target: Path,
        *,
        replaces: bool = False,
        before_staging: Callable[[Path], None] = lambda folder: None,
    ) -> None:
        self._given = target
        self._replaces = replaces
        self._before_staging = before_staging
        target = Path(os.path.abspath(target))  # noqa: PTH100 - links stay as they are
        self._target = target
        self._outer = target.parent / staged_name(target)
        self._lock = -1
        self._origin: Path | None = None
        #: Named like the destination, since the folder's name is the model's name.
        self.folder = self._outer / target.name

    def make(self) -> None:
        """Make the hidden folder. Raises OSError."""
        remove_abandoned(self._target)
        self._before_staging(self._outer)
        self._outer.mkdir(parents=True)
        self._lock = lock_folder(self._outer)
        self.folder.mkdir()

    def copy_weights(self, origin: Path, names: Sequence[str]) -> None:
        """Copy files from the folder ``origin``, which may be the destination. Raises OSError."""
        self._origin = origin
        for name in names:
            copy = self.folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin / name, copy)

    def checksum_weights(self, names: Sequence[str]) -> tuple[tuple[str, str], dict[str, str]]:
        """Return name and sha256 of the first file, and those of the others. Raises OSError."""
        first, *external = names
        return (first, sha256_of(self.folder / first)), {
            name: sha256_of(self.folder / name, MAX_EXTERNAL_BYTES) for name in external
        }

    def write_labels(self, labels: tuple[str, ...]) -> str | list[str]:
        """Write one label a line, where that reads back as the same labels. Raises OSError.

        Returns what model.yaml says: the name of the file, or the labels themselves.
        """
        text = "".join(f"{label}\n" for label in labels)
        try:
            data = text.encode()
            is_plain = bool(labels) and parse_labels(text) == labels
        except ValueError:  # it cannot be read back, or has half of a surrogate pair
            is_plain = False
        if not is_plain:
            return list(labels)
        (self.folder / LABELS_FILE).write_bytes(data)
        return LABELS_FILE

    def write_description(self, description: NewDescription) -> None:
        """Write model.yaml. Raises OSError."""
        (self.folder / DESCRIPTION_FILE).write_text(description.text(), encoding="utf-8")

    def keep(self) -> Path:
        """Move the folder to its destination, and return that. Raises OSError."""
        if self._replaces or self._target.exists():
            for source in [*self.folder.rglob("*")]:
                if source.is_file():
                    there = self._target / source.relative_to(self.folder)
                    if self._origin is None or not is_same_file(there, self._origin / there.name):
                        there.parent.mkdir(parents=True, exist_ok=True)
                        source.replace(there)
        else:
            self.folder.rename(self._target)
        return self._given

    def remove(self) -> None:
        """Remove what was not kept."""
        shutil.rmtree(self._outer, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

"""Images with their correct class: from a CSV table, or from one folder for each class."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator
from pathlib import Path

from edge_inference.core.bounded_file import read_text
from edge_inference.core.images.media import IMAGE_SUFFIXES
from edge_inference.core.models.model import ModelDescription
from edge_inference.errors import ConfigError
from edge_inference.optimize.images.calibration_images import pick_evenly
from edge_inference.optimize.images.image_set import ImageSet, load_labeled_files

_HEADER = ["image", "label"]
_MAX_TABLE_BYTES = 128 << 20
# Several times the size of the ImageNet validation set.
_MAX_ROWS = 200_000


def load_labeled_table(
    model: ModelDescription, table: Path, folder: Path | None, limit: int | None = None
) -> ImageSet:
    """Read a CSV file of ``image,label`` lines, with or without these words as a header.

    Images are relative to ``folder``, by default to the table's folder. A label is one of the
    model's, or the number of a class from 0. Raises ConfigError with file and line, SourceError
    if no image can be read.
    """
    _check_task(model)
    class_of: dict[str, int] = {}
    classes: dict[str, int] = {}  # a cache: looking up a label is slow
    for line, row in _read_rows(table):
        cells = [cell.strip() for cell in row]
        if not class_of and [cell.lower() for cell in cells] == _HEADER:
            continue
        where = f"{table}: line {line}"
        if len(cells) != 2 or not all(cells):
            raise ConfigError(
                f"{where}: expected image,label, got {','.join(row)!r:.200}; put a label "
                "with a comma in quotes"
            )
        image, label = cells
        if label not in classes:
            classes[label] = _class_id(model, label, where)
        class_of[image] = classes[label]
    if not class_of:
        raise ConfigError(f"{table}: expected lines of image,label, got none")
    names = list(class_of)
    picked = [names[index] for index in pick_evenly(len(names), limit or len(names))]
    chosen = {(folder or table.parent) / name: class_of[name] for name in picked}
    return load_labeled_files(chosen, str(table), None)


def load_labeled_folders(
    model: ModelDescription, folder: Path, limit: int | None = None
) -> ImageSet | None:
    """Read a folder with one subfolder for each class, named like its label.

    Returns None if ``folder`` has images itself, or if none of its subfolders is named like a
    label. Raises ConfigError if only some are, SourceError if no image can be read.
    """
    subfolders = _find_class_folders(folder)
    if model.task != "classification" or not any(
        subfolder.name in model.labels for subfolder in subfolders
    ):
        return None
    class_of: dict[Path, int] = {}
    for subfolder in subfolders:
        files = sorted(file for file in subfolder.iterdir() if _is_image(file))
        if files:
            class_id = _class_id(model, subfolder.name, f"{subfolder}: the folder's name")
            class_of.update(dict.fromkeys(files, class_id))
    return load_labeled_files(class_of, str(folder), limit) if class_of else None


def _read_rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield each non-empty line with its number."""
    try:
        text = read_text(table, _MAX_TABLE_BYTES).removeprefix("\N{BYTE ORDER MARK}")
        rows = csv.reader(io.StringIO(text))
        for number, row in enumerate(filter(None, rows)):
            if number > _MAX_ROWS:  # the first row may be the header
                raise ConfigError(
                    f"{table}: line {rows.line_num}: expected at most {_MAX_ROWS} images; "
                    "use a shorter table"
                )
            yield rows.line_num, row
    except OSError as error:
        raise ConfigError(f"{table}: cannot be read ({error.strerror})") from error
    except csv.Error as error:
        raise ConfigError(f"{table}: not a CSV table ({error})") from error


def _find_class_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if any(_is_image(entry) for entry in entries):
        return []
    return [entry for entry in entries if entry.is_dir()]


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def _check_task(model: ModelDescription) -> None:
    if model.task != "classification":
        raise ConfigError(
            f"labels: accuracy is measured for classification only, and model {model.name} is for "
            f"{model.task}; leave the labels out: agreement with fp32 is measured without them"
        )


def _class_id(model: ModelDescription, label: str, where: str) -> int:
    if label in model.labels:
        return model.labels.index(label)
    if (
        label.isdecimal()
        and len(label) < 10
        and (not model.labels or int(label) < len(model.labels))
    ):
        return int(label)
    near = difflib.get_close_matches(label, model.labels, n=1)
    raise ConfigError(
        f"{where}: {label!r:.200} is none of the {len(model.labels)} labels of model {model.name}"
        f"{f'; did you mean {near[0]!r}?' if near else ''}; give a label, or its number from 0"
    )

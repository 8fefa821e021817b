"""Labelled boxes of a recording, from a JSON file in COCO's format.

``images`` are the labelled frames. The key ``fid`` (as in Argoverse-HD) is the number of the frame
in the recording, from 0; without it in any image, the images in the order of their ``id`` are the
first frames of the recording.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.bounded_file import read_json
from edge_inference.errors import ConfigError

_MAX_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class LabeledFrame:
    """The boxes of one frame: ``(N, 4)`` x1, y1, x2, y2 in source pixels, and their names.

    ``is_crowd`` marks a region of many objects: boxes in it are neither right nor wrong.
    """

    boxes: NDArray[np.float64]
    names: tuple[str, ...]
    is_crowd: NDArray[np.bool_]


def load_recording_labels(file: Path) -> dict[int, LabeledFrame]:
    """Return the labelled frames of a recording by their number from 0.

    Raises ConfigError for a file that cannot be read, or is not in COCO's format.
    """
    try:
        content = read_json(file, _MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file}: not JSON: {error}") from error
    return _Labels(file, content).frames()


class _Labels:
    """Reads the content of one file."""

    def __init__(self, file: Path, content: Any) -> None:
        self._file = file
        self._content = content if isinstance(content, dict) else {}

    def frames(self) -> dict[int, LabeledFrame]:
        names = {
            self._integer(entry, "id", "categories"): self._text(entry, "name", "categories")
            for entry in self._list("categories")
        }
        numbers = self._frame_numbers(self._list("images"))
        found: dict[int, list[tuple[NDArray[np.float64], str, bool]]] = {
            image: [] for image in numbers
        }
        for entry in self._list("annotations"):
            image = self._integer(entry, "image_id", "annotations")
            category = self._integer(entry, "category_id", "annotations")
            if image not in found:
                self._fail(f"annotations: image_id {image} is not among the images")
            if category not in names:
                self._fail(f"annotations: category_id {category} is not among the categories")
            box = self._box(entry)
            found[image].append((box, names[category], bool(entry.get("iscrowd", 0))))
        return {
            number: LabeledFrame(
                np.array([box for box, _, _ in found[image]]).reshape(-1, 4),
                tuple(name for _, name, _ in found[image]),
                np.array([crowd for _, _, crowd in found[image]], dtype=np.bool_),
            )
            for image, number in numbers.items()
        }

    def _frame_numbers(self, images: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        """Return the number of the frame of each image."""
        ids = sorted(self._integer(image, "id", "images") for image in images)
        if not ids:
            self._fail("images: expected at least one labelled frame, got none")
        numbers = {image: number for number, image in enumerate(ids)}
        if any("fid" in image for image in images):
            numbers = {
                self._integer(image, "id", "images"): self._integer(image, "fid", "images")
                for image in images
            }
        if len(numbers) != len(images) or len(set(numbers.values())) != len(images):
            self._fail("images: two of them have the same id or fid")
        if min(numbers.values()) < 0:
            self._fail("images: fid counts the frames from 0")
        return numbers

    def _list(self, key: str) -> list[dict[str, Any]]:
        entries = self._content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self._fail(f"{key}: expected a list of objects")
        return entries

    def _integer(self, entry: Mapping[str, Any], key: str, where: str) -> int:
        value = entry.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            self._fail(f"{where}: {key}: expected a whole number, got {value!r:.40}")
        return value

    def _text(self, entry: Mapping[str, Any], key: str, where: str) -> str:
        value = entry.get(key)
        if not isinstance(value, str) or not value:
            self._fail(f"{where}: {key}: expected a text, got {value!r:.40}")
        return value

    def _box(self, entry: Mapping[str, Any]) -> NDArray[np.float64]:
        value = entry.get("bbox")
        is_box = isinstance(value, list) and len(value) == 4
        if not is_box or not all(
            isinstance(side, int | float) and not isinstance(side, bool) and math.isfinite(side)
            for side in value or ()
        ):
            self._fail(f"annotations: bbox: expected x, y, width, height, got {value!r:.60}")
        x, y, width, height = (float(side) for side in value or ())
        if width < 0 or height < 0:
            self._fail(f"annotations: bbox: expected no negative size, got {value!r:.60}")
        return np.array([x, y, x + width, y + height])

    def _fail(self, problem: str) -> NoReturn:
        raise ConfigError(
            f"{self._file}: {problem}; expected COCO's format with images, annotations and "
            "categories, see docs/streaming_agreement.md"
        )

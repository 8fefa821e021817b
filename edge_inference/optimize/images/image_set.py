"""Images to evaluate a model on: its own, or those of a file, folder, video or recorded bag.

Image files stay on the disk and are read each time, so that a labelled folder may hold any number
of them. Images of a video or a bag are kept in memory, which limits their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from edge_inference.core.images.frame import Frame
from edge_inference.core.images.media import IMAGE_SUFFIXES, open_media
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import self_check_images
from edge_inference.errors import SourceError
from edge_inference.optimize.images.calibration_images import (
    calibration_images,
    decode_frame,
    pick_evenly,
)

#: Number of images without labels, unless the caller gives another limit.
DEFAULT_LIMIT = 48


class ImageSet(Sequence[Frame]):
    """A sequence of images; image files are read on access.

    ``description`` describes the images, ``skipped`` says why some were left out.
    ``class_ids`` has the correct class of each image, None for images without labels.
    """

    def __init__(
        self,
        images: Sequence[Frame | Path],
        description: str,
        class_ids: Sequence[int] | None = None,
        skipped: Sequence[str] = (),
    ) -> None:
        if class_ids is not None and len(class_ids) != len(images):
            raise ValueError(f"{len(images)} images, {len(class_ids)} classes")
        self._images = tuple(images)
        self.description = description
        self.class_ids = None if class_ids is None else tuple(class_ids)
        self.skipped = tuple(skipped)

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> ImageSet: ...
    def __getitem__(self, index: int | slice) -> Frame | ImageSet:
        if isinstance(index, slice):
            class_ids = None if self.class_ids is None else self.class_ids[index]
            return ImageSet(self._images[index], self.description, class_ids, self.skipped)
        image = self._images[index]
        return image if isinstance(image, Frame) else read_image_file(image)


def golden_image_set(model: ModelDescription, limit: int | None = None) -> ImageSet:
    """Return the first ``limit`` golden images and crops of the self-check. Raises ModelError."""
    images = self_check_images(model)[:limit]
    kind = "golden images and crops of them" if model.golden else "generated image"
    return ImageSet(images, f"{len(images)} {kind}")


def load_image_set(source: str, topic: str = "", limit: int | None = None) -> ImageSet:
    """Return at most ``limit`` images of a source, evenly spread over it.

    Takes the sources of ``calibration_images`` and raises what that raises. ``skipped`` says
    which images cannot be read.
    """
    skipped: list[str] = []
    images: list[Frame | Path] = []
    for image in calibration_images(source, topic, limit or DEFAULT_LIMIT, skipped.append):
        frame = decode_frame(image)
        file = Path(frame.origin)
        images.append(file if file.suffix.lower() in IMAGE_SUFFIXES else frame)
    return ImageSet(images, _describe(len(images), source), skipped=skipped)


def load_labeled_files(class_of: dict[Path, int], source: str, limit: int | None) -> ImageSet:
    """Return at most ``limit`` files with the correct class of each, evenly spread.

    ``skipped`` says which files cannot be read. Raises SourceError if none can be read.
    """
    files = list(class_of)
    picked = [files[index] for index in pick_evenly(len(files), limit or len(files))]
    readable, skipped = _find_readable(picked)
    if not readable:
        raise SourceError(f"{source}: no image can be read; the first error: {skipped[0]}")
    class_ids = [class_of[file] for file in readable]
    return ImageSet(readable, _describe(len(readable), source), class_ids, skipped)


def read_image_file(file: Path) -> Frame:
    """Read one image file. Raises SourceError."""
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        raise SourceError(f"{file}: not an image file; expected {', '.join(IMAGE_SUFFIXES)}")
    media = open_media(str(file))
    try:
        image = media.read_with_alpha()
    finally:
        media.close()
    if image is None:
        raise SourceError(f"{file}: the file has no image")
    return Frame.from_array(image, origin=str(file))


def _find_readable(files: Iterable[Path]) -> tuple[list[Path], list[str]]:
    readable, reasons = [], []
    for file in files:
        try:
            read_image_file(file)
        except SourceError as error:
            reasons.append(str(error))
        else:
            readable.append(file)
    return readable, reasons


def _describe(count: int, source: str) -> str:
    return f"{count} image{'' if count == 1 else 's'} of {source}"

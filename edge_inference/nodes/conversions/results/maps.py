"""Converts results with a value for every pixel: Segmentation and DepthMap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from edge_inference import msg as own
from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core import results
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.image_header import MAX_SIDE
from edge_inference.errors import ImageError, TensorError
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.numbers import SHARE, to_number

#: Maximum bytes of a map in a message, which is copied.
_MAP_BYTES = 64 << 20
_MASKS: Mapping[str, type[np.generic]] = {"mono8": np.uint8, "16UC1": np.uint16}


class SegmentationAdapter(Adapter[results.Segmentation]):
    """Segmentation as ``edge_inference/Segmentation``; its mask is an Image."""

    message_type = own.Segmentation
    bounds = MessageBounds(size=_MAP_BYTES, counts={"labels": 4096})
    _images = ImageAdapter()

    def to_message(self, item: results.Segmentation) -> own.Segmentation:
        """Build the message."""
        encodings = {np.dtype(dtype): name for name, dtype in _MASKS.items()}
        if item.mask.dtype not in encodings:
            raise TensorError(f"mask: expected uint8 or uint16, got {item.mask.dtype}")
        frame = _plane(item.mask, encodings[item.mask.dtype], item)
        return own.Segmentation(
            header=to_header(item.stamp_ns, item.frame_id),
            model=item.model,
            labels=list(item.labels),
            unknown_id=item.unknown_id,
            score=item.score,
            mask=self._images.to_message(frame),
        )

    def from_message(self, message: own.Segmentation) -> results.Segmentation:
        """Build the object; the mask is a view."""
        return results.Segmentation(
            mask=_pixels(message.mask, _MASKS),
            labels=tuple(message.labels),
            score=to_number(message.score, SHARE, "Segmentation: score"),
            unknown_id=message.unknown_id,
            model=message.model,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


class DepthAdapter(Adapter[results.DepthMap]):
    """DepthMap as a 32FC1 ``sensor_msgs/Image`` (REP 118)."""

    message_type = Image
    bounds = MessageBounds(size=_MAP_BYTES)
    _images = ImageAdapter()

    def to_message(self, item: results.DepthMap) -> Image:
        """Build the message."""
        return self._images.to_message(_plane(item.depth.astype(np.float32), "32FC1", item))

    def from_message(self, message: Image) -> results.DepthMap:
        """Build the object; the unit is metres by REP 118, because an Image has no unit."""
        return results.DepthMap(
            depth=_pixels(message, {"32FC1": np.float32}),
            unit="m",
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


def _plane(
    values: NDArray[Any], encoding: str, item: results.Segmentation | results.DepthMap
) -> Frame:
    height, width = values.shape
    pixels = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    step = width * values.itemsize
    return Frame(pixels, width, height, encoding, step, False, item.stamp_ns, item.frame_id)


def _pixels(image: Image, encodings: Mapping[str, type[np.generic]]) -> NDArray[Any]:
    """Return the pixels of an image with one number per pixel, (height, width)."""
    if image.encoding not in encodings:
        raise ImageError(
            f"image: expected encoding {' or '.join(encodings)}, got {image.encoding!r}"
        )
    if max(image.width, image.height) > MAX_SIDE:
        raise ImageError(
            f"image: expected at most {MAX_SIDE} pixels per side, got {image.width}x{image.height}"
        )
    dtype = np.dtype(encodings[image.encoding]).newbyteorder(">" if image.is_bigendian else "<")
    row, needed = image.width * dtype.itemsize, image.height * image.step
    if image.step < row or len(image.data) < needed:
        raise ImageError(
            f"image {image.width}x{image.height} {image.encoding}: expected a step of at least "
            f"{row} and {needed} bytes, got step {image.step} and {len(image.data)} bytes"
        )
    rows = np.frombuffer(image.data, dtype=np.uint8, count=needed).reshape(image.height, image.step)
    values = np.ascontiguousarray(rows[:, :row]).view(dtype)
    return values.astype(dtype.newbyteorder("="), copy=False)

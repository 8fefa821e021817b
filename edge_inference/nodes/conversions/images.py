"""Converts images: Frame and CompressedFrame."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.cdr import read_compressed_image, read_image, write_image
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_header import DEFAULT_BOUNDS, ImageBounds
from edge_inference.nodes.conversions.headers import stamp_ns, to_header

#: An image is only viewed here; the cost is limited where it is decoded or copied.
_IMAGE_BOUNDS = MessageBounds(size=1 << 30)


class ImageAdapter(Adapter[Frame]):
    """Frame as ``sensor_msgs/Image``; the serialized form is viewed in place."""

    message_type = Image
    bounds = _IMAGE_BOUNDS

    def __init__(self, bounds: ImageBounds | None = None) -> None:
        self._bounds = bounds

    def to_message(self, item: Frame) -> Image:
        """Build the message; one copy of the pixels."""
        return Image(
            header=to_header(item.stamp_ns, item.frame_id),
            height=item.height,
            width=item.width,
            encoding=item.encoding,
            is_bigendian=int(item.is_bigendian),
            step=item.step,
            data=array("B", item.data.tobytes()),
        )

    def from_message(self, message: Image) -> Frame:
        """View the message's pixels."""
        frame = Frame(
            np.frombuffer(message.data, dtype=np.uint8),
            message.width,
            message.height,
            message.encoding,
            message.step,
            bool(message.is_bigendian),
            stamp_ns(message.header),
            message.header.frame_id,
        )
        return self._check_bounds(frame)

    def to_bytes(self, item: Frame) -> bytes:
        """Serialize with one copy of the pixels."""
        return write_image(item)

    def read(self, data: bytes) -> Frame:
        """View the pixels inside ``data``."""
        return self._check_bounds(read_image(data))

    def _check_bounds(self, frame: Frame) -> Frame:
        if self._bounds is not None:
            self._bounds.check_raw(frame.width, frame.height, frame.data.size)
        return frame


class CompressedImageAdapter(Adapter[CompressedFrame]):
    """CompressedFrame as ``sensor_msgs/CompressedImage``."""

    message_type = CompressedImage
    bounds = _IMAGE_BOUNDS

    def __init__(self, bounds: ImageBounds | None = None) -> None:
        self._bounds = bounds or DEFAULT_BOUNDS

    def to_message(self, item: CompressedFrame) -> CompressedImage:
        """Build the message; one copy of the file's bytes."""
        return CompressedImage(
            header=to_header(item.stamp_ns, item.frame_id),
            format=item.format,
            data=array("B", item.data.tobytes()),
        )

    def from_message(self, message: CompressedImage) -> CompressedFrame:
        """View the message's bytes."""
        frame = CompressedFrame(
            np.frombuffer(message.data, dtype=np.uint8),
            message.format,
            stamp_ns(message.header),
            message.header.frame_id,
        )
        return self._check_bounds(frame)

    def read(self, data: bytes) -> CompressedFrame:
        """View the file inside ``data``."""
        return self._check_bounds(read_compressed_image(data))

    def _check_bounds(self, frame: CompressedFrame) -> CompressedFrame:
        """Check the length, and return the frame with the bounds of this adapter."""
        self._bounds.check_length(frame.data.size)
        return replace(frame, bounds=self._bounds)

"""An image in the pipeline, in the encoding in which it arrived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.image_header import DEFAULT_BOUNDS, ImageBounds


@dataclass(frozen=True, eq=False)
class Frame:
    """An uncompressed image with unmodified bytes.

    ``data`` is a flat read-only ``uint8`` array of ``height * step`` bytes (1.5
    times as many for the planar encodings nv12 and nv21), a view where
    possible. ``encoding`` is a name from ``sensor_msgs/image_encodings.hpp``
    (and nv12, nv21). ``step`` is the length of a row in bytes, including
    padding. ``stamp_ns`` is the time of capture in nanoseconds since the
    epoch of the robot's clock, 0 where the camera sent none. ``origin`` is the
    file or device that the image was read from, empty for an image from a
    message; it does not leave the process.
    """

    data: NDArray[np.uint8]
    width: int
    height: int
    encoding: str
    step: int
    is_bigendian: bool = False
    stamp_ns: int = 0
    frame_id: str = ""
    origin: str = ""

    @classmethod
    def from_array(
        cls,
        image: NDArray[np.uint8],
        encoding: str | None = None,
        stamp_ns: int = 0,
        frame_id: str = "",
        origin: str = "",
    ) -> Frame:
        """Wrap an ``(H, W, C)`` or ``(H, W)`` ``uint8`` array; copies only a non-contiguous one.

        Without an encoding, 4 channels are bgra8, 3 are bgr8, and other numbers have no colors.
        """
        image = np.ascontiguousarray(image)
        data = image.reshape(-1)
        data.flags.writeable = False
        height, width = image.shape[:2]
        step = image.nbytes // height if height else 0
        if encoding is None:
            channels = image.shape[2] if image.ndim == 3 else 1
            encoding = {3: "bgr8", 4: "bgra8"}.get(channels, f"8UC{channels}")
        return cls(data, width, height, encoding, step, False, stamp_ns, frame_id, origin)


@dataclass(frozen=True, eq=False)
class CompressedFrame:
    """A JPEG or PNG image, still compressed.

    ``data`` is the file's bytes as a flat ``uint8`` array; ``format`` is the
    field of ``sensor_msgs/CompressedImage`` ("jpeg", "png", or image_transport's
    longer form such as "bgr8; jpeg compressed bgr8"). ``bounds`` limit the cost of
    decoding it.
    """

    data: NDArray[np.uint8]
    format: str
    stamp_ns: int = 0
    frame_id: str = ""
    bounds: ImageBounds = DEFAULT_BOUNDS

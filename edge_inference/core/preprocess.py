"""From a camera's picture to a model's input tensor, and the geometry to get back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.buffers import BufferPool
from edge_inference.core.encodings import convert_order, stored_pixels
from edge_inference.core.frame import CompressedFrame, Frame
from edge_inference.core.geometry import Geometry
from edge_inference.core.settings import change, setting
from edge_inference.errors import TensorError

_LARGEST_FLOAT16 = 65504.0
_INTEGERS = ("uint8", "int32")
#: INTER_NEAREST rounds down and shifts the picture by half a pixel; _EXACT does not.
_INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST_EXACT,
}


@dataclass(frozen=True)
class InputSpec:
    """What a model wants to see: ``(pixel - mean) / std`` for pixels of 0 to 255."""

    name: str = setting(description="name of the input tensor", read_only=True)
    width: int = setting(description="width of the tensor", unit="px", minimum=1, maximum=16384)
    height: int = setting(description="height of the tensor", unit="px", minimum=1, maximum=16384)
    layout: str = setting("NCHW", "order of the tensor's axes", choices=("NCHW", "NHWC"))
    color: str = setting("RGB", "order of the channels", choices=("RGB", "BGR", "GRAY"))
    mean: tuple[float, ...] = setting(
        (0.0,), "subtracted from every pixel: one for all channels, or one each in tensor order"
    )
    std: tuple[float, ...] = setting(
        (1.0,), "divides every pixel after that: one for all channels, or one each in tensor order"
    )
    dtype: str = setting(
        "float32", "type of the tensor", choices=("float32", "float16", "uint8", "int32")
    )
    resize: str = setting(
        "stretch",
        "stretch to fit; letterbox: keep the aspect and pad; center_crop: keep it and cut off",
        choices=("stretch", "letterbox", "center_crop"),
    )
    interpolation: str = setting(
        "linear", "how pixels are resampled", choices=tuple(_INTERPOLATIONS)
    )
    crop_fraction: float = setting(
        1.0, "part of the largest fitting rectangle that center_crop keeps", minimum=0.01, maximum=1
    )
    pad_value: int = setting(
        114, "brightness of a letterbox's padding, before mean and std", minimum=0, maximum=255
    )
    letterbox_align: str = setting(
        "center", "where a letterbox puts the picture", choices=("center", "top_left")
    )

    @property
    def channels(self) -> int:
        """Count the channels of the tensor."""
        return 1 if self.color == "GRAY" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor, batch axis first."""
        if self.layout == "NCHW":
            return 1, self.channels, self.height, self.width
        return 1, self.height, self.width, self.channels

    def check(self) -> str | None:
        """Return why the settings do not go together, or None."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                wanted = "1 entry" if self.channels == 1 else f"1 or {self.channels} entries"
                return f"{name}: expected {wanted} for {self.color}, got {len(values)}"
        if 0.0 in self.std:
            return f"std: expected numbers other than 0, got {list(self.std)}"
        if self.dtype in _INTEGERS and (any(self.mean) or set(self.std) != {1.0}):
            return (
                f"mean and std: expected mean 0 and std 1 for {self.dtype}, which takes pixels as "
                f"they are, got mean {list(self.mean)} and std {list(self.std)}"
            )
        if self.dtype == "float16" and np.abs(_tables(self)).max() > _LARGEST_FLOAT16:
            return f"std: {list(self.std)} is too small for float16; use float32"
        return None


@dataclass(frozen=True)
class Placement:
    """Which rectangle of the source goes to which rectangle of the tensor (x, y, width, height)."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]

    def geometry(self, source_width: int, source_height: int) -> Geometry:
        """Return the map from source to tensor, from the rectangles as rounded to whole pixels."""
        from_x, from_y, from_width, from_height = self.source
        to_x, to_y, to_width, to_height = self.target
        scale_x = to_width / from_width
        scale_y = to_height / from_height
        return Geometry(
            source_width,
            source_height,
            scale_x,
            scale_y,
            to_x - from_x * scale_x,
            to_y - from_y * scale_y,
        )


def _stretch(spec: InputSpec, width: int, height: int) -> Placement:
    return Placement((0, 0, width, height), (0, 0, spec.width, spec.height))


def _letterbox(spec: InputSpec, width: int, height: int) -> Placement:
    scale = min(spec.width / width, spec.height / height)
    to_width = _within(width * scale, spec.width)
    to_height = _within(height * scale, spec.height)
    x, y = 0, 0
    if spec.letterbox_align == "center":
        x, y = (spec.width - to_width) // 2, (spec.height - to_height) // 2
    return Placement((0, 0, width, height), (x, y, to_width, to_height))


def _center_crop(spec: InputSpec, width: int, height: int) -> Placement:
    """Cut first, then resize only what stays.

    The same picture as resizing the shorter side to ``size / crop_fraction`` and
    cutting ``size`` out of the middle, up to the rounding of the cut to whole
    source pixels, which the geometry knows. It is how EfficientNet was evaluated.
    """
    scale = max(spec.width / width, spec.height / height) / spec.crop_fraction
    from_width = _within(spec.width / scale, width)
    from_height = _within(spec.height / scale, height)
    x, y = (width - from_width) // 2, (height - from_height) // 2
    return Placement((x, y, from_width, from_height), (0, 0, spec.width, spec.height))


def _within(length: float, limit: int) -> int:
    return min(max(round(length), 1), limit)


_PLACEMENTS: Mapping[str, Callable[[InputSpec, int, int], Placement]] = {
    "stretch": _stretch,
    "letterbox": _letterbox,
    "center_crop": _center_crop,
}


def place(spec: InputSpec, width: int, height: int) -> Placement:
    """Decide where a picture of this size goes. Pure; sizes in pixels."""
    return _PLACEMENTS[spec.resize](spec, width, height)


class Preprocessor:
    """Turns pictures into tensors of one spec.

    The picture is resized in the channel order it came in, and only the small
    result is taken apart. A byte has 256 values, so normalising is a look-up:
    each channel goes through its table straight into its place in the tensor,
    which is the only time that the tensor is written. A table holds
    ``(pixel - mean) / std`` computed in float64 and rounded once.

    Keeps scratch pictures between calls: one thread at a time.
    """

    def __init__(self, spec: InputSpec) -> None:
        """Check the spec again, as it may not come from ``settings.build``; raises ConfigError."""
        self.spec = change(spec, {})
        self.shape = self.spec.shape
        self.dtype: np.dtype[Any] = np.dtype(self.spec.dtype)
        self._order = self.spec.color.lower()
        self._pool = BufferPool(self.shape, self.dtype)
        tables = _bits(_tables(self.spec).astype(self.dtype))
        self._tables = [np.ascontiguousarray(table) for table in tables]
        self._pixel_table = np.ascontiguousarray(tables.T).reshape(1, 256, -1)
        self._canvas: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        self._canvas_target: tuple[int, int, int, int] | None = None
        self._planes: list[NDArray[np.uint8]] = []

    def run(
        self, frame: Frame | CompressedFrame, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], Geometry]:
        """Return the tensor of ``shape`` and ``dtype``, and the map back to source pixels.

        The tensor is ``out`` where given (C-contiguous, writeable), else an array of a
        pool that takes it back when the last reference is gone. Raises ImageError
        for a bad picture and TensorError for an ``out`` that does not fit.
        """
        if out is not None:
            self._check_out(out)
        pixels, order = stored_pixels(frame, self._order)
        height, width = pixels.shape[:2]
        placement = place(self.spec, width, height)
        resized = self._resize(pixels, placement)
        tensor = self._pool.take() if out is None else out
        if self.spec.layout == "NCHW" or self.spec.channels == 1:
            self._write_planes(resized, order, _bits(tensor))
        else:
            colored = convert_order(resized, order, self._order)
            cv2.LUT(colored, self._pixel_table, dst=_bits(tensor)[0])
        return tensor, placement.geometry(width, height)

    __call__ = run

    def _check_out(self, out: NDArray[Any]) -> None:
        fits = out.shape == self.shape and out.dtype == self.dtype
        if not (fits and out.flags.c_contiguous and out.flags.writeable):
            raise TensorError(
                f"out for tensor {self.spec.name!r}: expected a C-contiguous, writeable "
                f"{self.dtype} array of shape {list(self.shape)}, got {out.dtype} "
                f"{list(out.shape)}"
            )

    def _resize(self, pixels: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
        from_x, from_y, from_width, from_height = placement.source
        to_x, to_y, to_width, to_height = placement.target
        wanted = pixels[from_y : from_y + from_height, from_x : from_x + from_width]
        canvas = self._canvas_for(pixels.shape[2:], placement.target)
        interpolation = _INTERPOLATIONS[self.spec.interpolation]
        if interpolation == cv2.INTER_AREA and (to_width > from_width or to_height > from_height):
            interpolation = cv2.INTER_LINEAR  # area has no meaning where a side grows
        cv2.resize(
            wanted,
            (to_width, to_height),
            dst=canvas[to_y : to_y + to_height, to_x : to_x + to_width],
            interpolation=interpolation,
        )
        return canvas

    def _canvas_for(
        self, channels: tuple[int, ...], target: tuple[int, int, int, int]
    ) -> NDArray[np.uint8]:
        """Return the scratch picture of the tensor's size, with the padding around ``target``."""
        shape = (self.spec.height, self.spec.width, *channels)
        if self._canvas.shape != shape or self._canvas_target != target:
            self._canvas = np.full(shape, self.spec.pad_value, np.uint8)
            self._canvas_target = target
        return self._canvas

    def _write_planes(self, picture: NDArray[np.uint8], order: str, tensor: NDArray[Any]) -> None:
        planes = tensor.reshape(self.spec.channels, self.spec.height, self.spec.width)
        sources = self._split(picture, order)
        for source, table, plane in zip(sources, self._tables, planes, strict=True):
            cv2.LUT(source, table, dst=plane)

    def _split(self, picture: NDArray[np.uint8], order: str) -> list[NDArray[np.uint8]]:
        """Take a picture apart into the planes of the tensor, in its order."""
        if self._order == "gray":
            return [convert_order(picture, order, "gray")]
        if order == "gray":
            return [picture] * 3
        if len(self._planes) != len(order):
            size = (self.spec.height, self.spec.width)
            self._planes = [np.empty(size, np.uint8) for _ in order]
        planes = cv2.split(picture, self._planes)
        return [np.asarray(planes[order.index(letter)], np.uint8) for letter in self._order]


def _tables(spec: InputSpec) -> NDArray[np.float64]:
    """Return (channels, 256): the tensor's value for every value of a pixel."""
    pixels = np.arange(256, dtype=np.float64)
    mean = np.broadcast_to(np.array(spec.mean), spec.channels)
    std = np.broadcast_to(np.array(spec.std), spec.channels)
    return np.asarray((pixels - mean[:, None]) / std[:, None], dtype=np.float64)


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """View float16 as uint16: OpenCV's bindings know no float16, and a look-up only copies."""
    return values.view(np.uint16) if values.dtype == np.float16 else values

"""Converts an image to a model's input tensor, and returns the geometry of the mapping."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.buffer_pool import BufferPool
from edge_inference.core.images.encodings import convert_order, stored_pixels
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec, Placement, pixel_tables, place
from edge_inference.core.settings import change
from edge_inference.errors import TensorError

#: INTER_NEAREST rounds down and shifts the image by half a pixel; _EXACT does not.
_INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST_EXACT,
}


class Preprocessor:
    """Converts images to tensors of one spec.

    The image is resized in its own channel order, and only the small
    result is split into channels. A byte has 256 values, so normalization is a table lookup
    that writes each channel directly into the tensor, and writes the tensor only once.
    A table holds ``(pixel - mean) / std``, computed in float64 and rounded once.

    Keeps scratch images between calls, so only one thread may call it at a time.
    """

    def __init__(self, spec: InputSpec) -> None:
        """Check the spec, which may not come from ``settings.build``; raises ConfigError."""
        self.spec = change(spec, {})
        self.shape = self.spec.shape
        self.dtype: np.dtype[Any] = np.dtype(self.spec.dtype)
        self._order = self.spec.color.lower()
        self._pool = BufferPool(self.shape, self.dtype)
        tables = _bits(pixel_tables(self.spec).astype(self.dtype))
        self._tables = [np.ascontiguousarray(table) for table in tables]
        self._pixel_table = np.ascontiguousarray(tables.T).reshape(1, 256, -1)
        self._canvas: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
        self._canvas_target: tuple[int, int, int, int] | None = None
        self._planes: list[NDArray[np.uint8]] = []

    def run(
        self, frame: Frame | CompressedFrame, out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], Geometry]:
        """Return the tensor of ``shape`` and ``dtype``, and the geometry of the mapping.

        The tensor is ``out`` where given (C-contiguous, writeable), else an array of a
        pool that reuses it when the last reference is gone. Raises ImageError
        for a bad image and TensorError for an unsuitable ``out``.
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
        cropped = pixels[from_y : from_y + from_height, from_x : from_x + from_width]
        canvas = self._canvas_for(pixels.shape[2:], placement.target)
        interpolation = _INTERPOLATIONS[self.spec.interpolation]
        if interpolation == cv2.INTER_AREA and (to_width > from_width or to_height > from_height):
            interpolation = cv2.INTER_LINEAR  # area interpolation is only for shrinking
        cv2.resize(
            cropped,
            (to_width, to_height),
            dst=canvas[to_y : to_y + to_height, to_x : to_x + to_width],
            interpolation=interpolation,
        )
        return canvas

    def _canvas_for(
        self, channels: tuple[int, ...], target: tuple[int, int, int, int]
    ) -> NDArray[np.uint8]:
        """Return the scratch image of the tensor's size, with padding around ``target``."""
        shape = (self.spec.height, self.spec.width, *channels)
        if self._canvas.shape != shape or self._canvas_target != target:
            self._canvas = np.full(shape, self.spec.pad_value, np.uint8)
            self._canvas_target = target
        return self._canvas

    def _write_planes(self, image: NDArray[np.uint8], order: str, tensor: NDArray[Any]) -> None:
        planes = tensor.reshape(self.spec.channels, self.spec.height, self.spec.width)
        sources = self._split(image, order)
        for source, table, plane in zip(sources, self._tables, planes, strict=True):
            cv2.LUT(source, table, dst=plane)

    def _split(self, image: NDArray[np.uint8], order: str) -> list[NDArray[np.uint8]]:
        """Split an image into the planes of the tensor, in the tensor's channel order."""
        if self._order == "gray":
            return [convert_order(image, order, "gray")]
        if order == "gray":
            return [image] * 3
        if len(self._planes) != len(order):
            size = (self.spec.height, self.spec.width)
            self._planes = [np.empty(size, np.uint8) for _ in order]
        planes = cv2.split(image, self._planes)
        return [np.asarray(planes[order.index(letter)], np.uint8) for letter in self._order]


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """View float16 as uint16: OpenCV's bindings lack float16, and a table lookup only copies."""
    return values.view(np.uint16) if values.dtype == np.float16 else values

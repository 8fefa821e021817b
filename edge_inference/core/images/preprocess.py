"""Converts an image to a model's input tensor, and returns the geometry of the mapping."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.buffer_pool import BufferPool
from edge_inference.core.images.encodings import convert_order, stored_pixels, stored_samples
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import (
    MULTI,
    InputSpec,
    Placement,
    normalize,
    pixel_tables,
    place,
    to_dtype,
)
from edge_inference.core.settings import change
from edge_inference.errors import ImageError, TensorError

#: INTER_NEAREST rounds down and shifts the image by half a pixel; _EXACT does not.
_INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST_EXACT,
}
#: Types of the same size that OpenCV copies, by numpy's kind and size.
_COPIED_AS = {
    "f2": np.uint16,
    "b1": np.uint8,
    "u4": np.int32,
    "i8": np.float64,
    "u8": np.float64,
}


class Preprocessor:
    """Converts images to tensors of one spec.

    The image is resized in its own channel order, and only the small
    result is split into channels. A byte has 256 values, so normalization is a table lookup
    that writes each channel directly into the tensor, and writes the tensor only once.
    A table holds ``(pixel - mean) / std``, computed in float64 and rounded once. Images of the
    color MULTI have no table, since their numbers are not bytes.

    Keeps scratch images between calls, so only one thread may call it at a time.
    """

    def __init__(self, spec: InputSpec) -> None:
        """Check the spec, which may not come from ``settings.build``; raises ConfigError."""
        self.spec = change(spec, {})
        self.shape = self.spec.shape
        self.dtype: np.dtype[Any] = np.dtype(self.spec.dtype)
        self._order = self.spec.color.lower()
        self._pool = BufferPool(self.shape, self.dtype)
        tables = _bits(to_dtype(pixel_tables(self.spec), self.dtype))
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
        if self.spec.color == MULTI:
            return self._run_multi(stored_samples(frame, self.spec.channels), out)
        pixels, order = stored_pixels(frame, self._order)
        height, width = pixels.shape[:2]
        placement = place(self.spec, width, height)
        resized = self._resize(pixels, placement)
        tensor = self._pool.take() if out is None else out
        if self.spec.is_planar or self.spec.channels == 1:
            self._write_planes(resized, order, _bits(tensor))
        else:
            colored = convert_order(resized, order, self._order)
            cv2.LUT(colored, self._pixel_table, dst=_bits(tensor)[0])
        return tensor, placement.geometry(width, height)

    __call__ = run

    def _run_multi(
        self, samples: NDArray[Any], out: NDArray[Any] | None
    ) -> tuple[NDArray[Any], Geometry]:
        """Convert (H, W, C) numbers of any type; a number that is not finite becomes 0."""
        height, width = samples.shape[:2]
        placement = place(self.spec, width, height)
        to_x, to_y, to_width, to_height = placement.target
        stored = samples.dtype
        canvas = np.full(self.spec.shape[1:], self.spec.pad_value, np.float64)
        canvas = canvas.transpose(1, 2, 0) if self.spec.is_planar else canvas
        for channel in range(self.spec.channels):  # OpenCV resizes at most 4 channels at a time
            plane = np.nan_to_num(
                samples[..., channel].astype(_resizable(stored)), posinf=0.0, neginf=0.0
            )
            resized = np.empty((to_height, to_width), plane.dtype)
            self._resize_into(plane, placement, resized)
            canvas[to_y : to_y + to_height, to_x : to_x + to_width, channel] = resized
        values = normalize(canvas, self.spec)
        self._check_range(values, stored)
        tensor = self._pool.take() if out is None else out
        target = tensor[0].transpose(1, 2, 0) if self.spec.is_planar else tensor[0]
        target[...] = to_dtype(values, self.dtype)
        return tensor, placement.geometry(width, height)

    def _check_range(self, values: NDArray[np.float64], stored: np.dtype[Any]) -> None:
        if self.dtype == np.bool_:
            return
        limits = np.iinfo(self.dtype) if self.dtype.kind in "iu" else np.finfo(self.dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise ImageError(
                f"image of {stored} numbers: expected {limits.min:g} to {limits.max:g} for the "
                f"{self.dtype} tensor {self.spec.name!r}, got {values.min():g} to "
                f"{values.max():g}; correct mean, std and dtype of input in model.yaml"
            )

    def _check_out(self, out: NDArray[Any]) -> None:
        fits = out.shape == self.shape and out.dtype == self.dtype
        if not (fits and out.flags.c_contiguous and out.flags.writeable):
            raise TensorError(
                f"out for tensor {self.spec.name!r}: expected a C-contiguous, writeable "
                f"{self.dtype} array of shape {list(self.shape)}, got {out.dtype} "
                f"{list(out.shape)}"
            )

    def _resize(self, pixels: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
        to_x, to_y, to_width, to_height = placement.target
        canvas = self._canvas_for(pixels.shape[2:], placement.target)
        self._resize_into(
            pixels, placement, canvas[to_y : to_y + to_height, to_x : to_x + to_width]
        )
        return canvas

    def _resize_into(
        self, pixels: NDArray[Any], placement: Placement, target: NDArray[Any]
    ) -> None:
        from_x, from_y, from_width, from_height = placement.source
        cropped = pixels[from_y : from_y + from_height, from_x : from_x + from_width]
        to_width, to_height = placement.target[2:]
        interpolation = _INTERPOLATIONS[self.spec.interpolation]
        if interpolation == cv2.INTER_AREA and (to_width > from_width or to_height > from_height):
            interpolation = cv2.INTER_LINEAR  # area interpolation is only for shrinking
        cv2.resize(cropped, (to_width, to_height), dst=target, interpolation=interpolation)

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


def _resizable(stored: np.dtype[Any]) -> type[np.generic]:
    """Return a type that holds the numbers exactly and that OpenCV can resize."""
    return np.float64 if stored.itemsize > 2 else np.float32


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    """View types that OpenCV's bindings lack as others: a table lookup only copies."""
    copied_as = _COPIED_AS.get(values.dtype.str[1:])
    return values if copied_as is None else values.view(copied_as)

"""The input format of a model, and the placement of an image of any size in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.geometry import Geometry
from edge_inference.core.settings import setting

_MAX_FLOAT16 = 65504.0
# A std of this size is the inverse of one: 1 / 255, or 1 / 127.5.
_UNIT_STEP = 0.01
FLOATS = ("float32", "float16", "float64")
#: Types that hold every pixel as it is: mean and std cannot change it.
_UNCHANGED = ("uint8", "uint16", "uint32", "uint64", "int32", "int64")
#: Types for which ``(pixel - mean) / std`` is rounded and must fit.
_ROUNDED = ("int8", "int16")
DTYPES = (*FLOATS, *_UNCHANGED, *_ROUNDED, "bool")
_COLORS = ("RGB", "BGR", "GRAY", "RGBA", "BGRA")
#: The color of a model whose channels are not those of one color image.
MULTI = "MULTI"
INTERPOLATIONS = ("linear", "cubic", "area", "nearest")


@dataclass(frozen=True)
class InputSpec:
    """The input format of a model: ``(pixel - mean) / std`` for pixels of 0 to 255.

    With the color MULTI the pixels are the numbers that the camera stores, in its order of
    channels: 0 to 65535 for the encoding 16UC6.
    """

    name: str = setting(description="name of the input tensor", read_only=True)
    width: int = setting(description="width of the tensor", unit="px", minimum=1, maximum=16384)
    height: int = setting(description="height of the tensor", unit="px", minimum=1, maximum=16384)
    layout: str = setting(
        "NCHW",
        "order of the graph's axes; CHW and HWC have no batch axis",
        choices=("NCHW", "NHWC", "CHW", "HWC"),
    )
    batch: int = setting(
        1,
        "fixed batch of the graph; one image fills it, and costs as much as all",
        minimum=1,
        maximum=1024,
    )
    color: str = setting(
        "RGB",
        "order of the channels; MULTI: as many as channel_count, as the camera stores them",
        choices=(*_COLORS, MULTI),
    )
    channel_count: int = setting(
        3, "number of channels for the color MULTI", minimum=1, maximum=512
    )
    mean: tuple[float, ...] = setting(
        (0.0,), "subtracted from every pixel: one for all channels, or one each in tensor order"
    )
    std: tuple[float, ...] = setting(
        (1.0,), "divides every pixel after that: one for all channels, or one each in tensor order"
    )
    dtype: str = setting("float32", "type of the tensor", choices=DTYPES)
    resize: str = setting(
        "stretch",
        "stretch to fit; letterbox: keep the aspect ratio and pad; center_crop: keep it and crop",
        choices=("stretch", "letterbox", "center_crop"),
    )
    interpolation: str = setting("linear", "how pixels are resampled", choices=INTERPOLATIONS)
    crop_fraction: float = setting(
        1.0, "part of the largest fitting rectangle that center_crop keeps", minimum=0.01, maximum=1
    )
    pad_value: int = setting(
        114, "brightness of a letterbox's padding, before mean and std", minimum=0, maximum=255
    )
    letterbox_align: str = setting(
        "center", "where a letterbox puts the image", choices=("center", "top_left")
    )

    @property
    def channels(self) -> int:
        """Number of channels of the tensor."""
        if self.color == MULTI:
            return self.channel_count
        return 1 if self.color == "GRAY" else len(self.color)

    @property
    def is_planar(self) -> bool:
        """Tell whether each channel is a plane of its own."""
        return self.layout.endswith("CHW")

    @property
    def has_batch_axis(self) -> bool:
        """Tell whether the graph's input has a batch axis."""
        return self.layout.startswith("N")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the tensor of one image, always with a batch axis, which is first."""
        if self.is_planar:
            return 1, self.channels, self.height, self.width
        return 1, self.height, self.width, self.channels

    @property
    def graph_shape(self) -> tuple[int, ...]:
        """Shape of the graph's input, which may have no batch axis or a fixed batch."""
        return (self.batch, *self.shape[1:]) if self.has_batch_axis else self.shape[1:]

    def check(self) -> str | None:
        """Return why the combination of settings is invalid, or None."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.channels):
                wanted = "1 entry" if self.channels == 1 else f"1 or {self.channels} entries"
                return f"{name}: expected {wanted} for {self.color}, got {len(values)}"
        if 0.0 in self.std:
            return f"std: expected numbers other than 0, got {list(self.std)}"
        if self.batch > 1 and not self.has_batch_axis:
            return f"batch: expected 1 for layout {self.layout}, got {self.batch}"
        return self._dtype_problem()

    def doubt(self) -> str | None:
        """Return a sentence if mean and std seem to be those for pixels from 0 to 1, or None."""
        if self.color == MULTI or not all(0 < value < 1 for value in self.std):
            return None
        mean, std = list(self.mean), list(self.std)
        if not any(mean) and max(std) <= _UNIT_STEP:
            better = f"std divides: pixels from 0 to 1 have std {[255.0] * len(std)}"
        elif all(0 <= value <= 1 for value in mean):
            mean_255, std_255 = ([round(value * 255, 4) for value in each] for each in (mean, std))
            better = f"if they are for pixels from 0 to 1, set mean {mean_255} and std {std_255}"
        else:
            return None
        return f"input.mean {mean} and input.std {std} apply to pixels from 0 to 255; {better}"

    def _dtype_problem(self) -> str | None:
        if self.dtype in _UNCHANGED and (any(self.mean) or set(self.std) != {1.0}):
            return (
                f"mean and std: expected mean 0 and std 1 for {self.dtype}, which has unchanged "
                f"pixels, got mean {list(self.mean)} and std {list(self.std)}"
            )
        if self.color == MULTI:  # the camera's type decides the range
            return None
        if self.dtype == "float16" and np.abs(pixel_tables(self)).max() > _MAX_FLOAT16:
            return f"std: {list(self.std)} is too small for float16; use float32"
        if self.dtype in _ROUNDED:
            values, limits = np.rint(pixel_tables(self)), np.iinfo(self.dtype)
            if values.min() < limits.min or values.max() > limits.max:
                return (
                    f"mean and std: expected values of {limits.min} to {limits.max} for "
                    f"{self.dtype}, got {values.min():g} to {values.max():g} for pixels of 0 to "
                    "255; for int8 the mean is usually 128"
                )
        return None


@dataclass(frozen=True)
class Placement:
    """The rectangles of the source and of the tensor that correspond (x, y, width, height)."""

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]

    def geometry(self, source_width: int, source_height: int) -> Geometry:
        """Return the map from source to tensor, for the rectangles rounded to whole pixels."""
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
    to_width = _round_within(width * scale, spec.width)
    to_height = _round_within(height * scale, spec.height)
    x, y = 0, 0
    if spec.letterbox_align == "center":
        x, y = (spec.width - to_width) // 2, (spec.height - to_height) // 2
    return Placement((0, 0, width, height), (x, y, to_width, to_height))


def _center_crop(spec: InputSpec, width: int, height: int) -> Placement:
    """Crop first, then resize only the remaining part.

    The result is the same as resizing the shorter side to ``size / crop_fraction`` and
    cropping ``size`` from the center, except that the crop is rounded to whole
    source pixels; the geometry includes that. EfficientNet was evaluated in this way.
    """
    scale = max(spec.width / width, spec.height / height) / spec.crop_fraction
    from_width = _round_within(spec.width / scale, width)
    from_height = _round_within(spec.height / scale, height)
    x, y = (width - from_width) // 2, (height - from_height) // 2
    return Placement((x, y, from_width, from_height), (0, 0, spec.width, spec.height))


def _round_within(length: float, limit: int) -> int:
    return min(max(round(length), 1), limit)


_PLACEMENTS: Mapping[str, Callable[[InputSpec, int, int], Placement]] = {
    "stretch": _stretch,
    "letterbox": _letterbox,
    "center_crop": _center_crop,
}


def place(spec: InputSpec, width: int, height: int) -> Placement:
    """Return the placement of an image of this size in pixels."""
    return _PLACEMENTS[spec.resize](spec, width, height)


def pixel_tables(spec: InputSpec) -> NDArray[np.float64]:
    """Return (channels, 256): ``(pixel - mean) / std`` for every value of a byte."""
    pixels = np.arange(256, dtype=np.float64)[:, np.newaxis]
    return np.broadcast_to(normalize(pixels, spec), (256, spec.channels)).T


def normalize(pixels: NDArray[Any], spec: InputSpec) -> NDArray[np.float64]:
    """Return ``(pixel - mean) / std`` of pixels whose last axis is that of the channels, or 1."""
    return np.asarray((pixels - np.array(spec.mean)) / np.array(spec.std), dtype=np.float64)


def to_dtype(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return normalized pixels in a type: rounded for integers, "greater than 0" for bool."""
    if dtype == np.bool_:
        return values > 0
    return (np.rint(values) if dtype.kind in "iu" else values).astype(dtype)

"""Depth: a distance for every pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.decoders.source_maps import linear_to_source, nearest_to_source
from edge_inference.core.results import DepthMap
from edge_inference.core.settings import setting

_RESAMPLERS: dict[str, Callable[..., NDArray[Any]]] = {
    "linear": linear_to_source,
    "nearest": nearest_to_source,
}


@dataclass(frozen=True)
class DepthSettings:
    """The unit of the output, and how it is resampled."""

    unit: str = setting(
        "relative",
        "m: metres; relative: depth up to an unknown scale; inverse: larger values are nearer",
        choices=("m", "relative", "inverse"),
        read_only=True,
    )
    scale: float = setting(
        1.0, "factor from the output to the unit", minimum=1e-6, maximum=1e6, read_only=True
    )
    interpolation: str = setting(
        "linear",
        "linear: smooth; nearest: no intermediate depths at the edges of objects",
        choices=tuple(_RESAMPLERS),
    )
    depth_output: str = setting("", "output with the depth map; empty: automatic", read_only=True)


@register("depth", DepthSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: DepthSettings
) -> DepthMap:
    """Decode ``[1, h, w]``, ``[1, 1, h, w]`` or ``[1, h, w, 1]``, which covers the model input."""
    output = checks.choose_output(
        outputs,
        settings.depth_output,
        setting="depth_output",
        expected="a depth map [1, h, w]",
        fits=lambda array: array.ndim in (3, 4),
        keywords=("depth", "disparity"),
    )
    plane = checks.to_plane(output, "name the depth map with depth_output in model.yaml")
    values = plane * np.float32(settings.scale)
    resample = _RESAMPLERS[settings.interpolation]
    return DepthMap(resample(values, context, float("nan")), settings.unit, context.model)

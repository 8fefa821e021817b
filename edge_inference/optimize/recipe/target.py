"""The target of a recipe: a latency and an accuracy, and whether a measured point meets them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_inference.core.measured_costs import Spread
from edge_inference.errors import ConfigError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.onnx_timing import DEFAULT_RUNS

DEFAULT_SPEEDUP = 2.0
DEFAULT_ACCURACY_LOSS = 0.01
#: A time that differs from its bound by less than this share is measured a second time.
NOISE = 0.1
_BACKENDS = ("ort",)


@dataclass(frozen=True)
class RecipeTarget:
    """What the deployed model must reach.

    ``latency_ms`` is the largest median time of an inference of one image, ``speedup`` the
    smallest ratio of the time of the network in fp32 to it; without both, a speed-up of 2.
    ``min_accuracy`` is the smallest share of correct images, ``max_accuracy_loss`` the largest
    loss against the network in fp32; without both, a loss of 0.01. ``backend`` and ``threads``
    say where times are measured, ``runs`` how often. With one thread its CPU time counts, with
    more the wall time. Raises ConfigError.
    """

    latency_ms: float | None = None
    speedup: float | None = None
    min_accuracy: float | None = None
    max_accuracy_loss: float | None = None
    backend: str = "ort"
    threads: int = 1
    runs: int = DEFAULT_RUNS

    def __post_init__(self) -> None:
        for name in ("latency_ms", "speedup"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name}: expected more than 0, got {value}")
        for name in ("min_accuracy", "max_accuracy_loss"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name}: expected a share from 0 to 1, got {value}")
        if self.backend not in _BACKENDS:
            raise ConfigError(
                f"backend: expected one of {', '.join(_BACKENDS)}, where times are measured, got "
                f"{self.backend!r}; a TensorRT engine is built at the end where it is installed"
            )
        for name, least in (("threads", 1), ("runs", 10)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: expected at least {least}, got {getattr(self, name)}")

    def floor(self, reference: MeasuredAccuracy) -> float:
        """Return the smallest accuracy allowed, given that of the network in fp32."""
        bounds = [] if self.min_accuracy is None else [self.min_accuracy]
        if self.max_accuracy_loss is not None or not bounds:
            loss = self.max_accuracy_loss
            bounds.append(reference.share - (DEFAULT_ACCURACY_LOSS if loss is None else loss))
        return max(bounds)

    def largest_s(self, reference: Spread) -> float:
        """Return the largest median time allowed, given that of the network in fp32."""
        bounds = [] if self.latency_ms is None else [self.latency_ms / 1e3]
        if self.speedup is not None or not bounds:
            bounds.append(reference.median_s / (self.speedup or DEFAULT_SPEEDUP))
        return min(bounds)

    def is_fast_enough(self, time: Spread, reference: Spread) -> bool:
        """Tell whether a time meets the bounds; both must be from one measurement."""
        return time.median_s <= self.largest_s(reference)

    def is_doubtful(self, time: Spread, reference: Spread) -> bool:
        """Tell whether a time is so close to its bound that noise may decide."""
        bound = self.largest_s(reference)
        return abs(time.median_s - bound) < NOISE * bound

    def describe(self) -> str:
        """Return the target as text."""
        parts = []
        if self.latency_ms is not None:
            parts.append(f"at most {self.latency_ms:g} ms")
        if self.speedup is not None or self.latency_ms is None:
            parts.append(f"at least {self.speedup or DEFAULT_SPEEDUP:g} times as fast as fp32")
        if self.min_accuracy is not None:
            parts.append(f"accuracy of at least {self.min_accuracy:.1%}")
        if self.max_accuracy_loss is not None or self.min_accuracy is None:
            loss = self.max_accuracy_loss
            loss = DEFAULT_ACCURACY_LOSS if loss is None else loss
            parts.append(f"at most {loss * 100:g} points of accuracy lost")
        return ", ".join(parts)

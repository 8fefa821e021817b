"""The Pareto front: the points that no other point beats in everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_inference.core.settings import suggestion
from edge_inference.errors import ConfigError
from edge_inference.optimize.tradeoff.tradeoff_point import TradeoffPoint


def _lost_share(point: TradeoffPoint) -> float | None:
    return None if point.accuracy is None else 1.0 - point.accuracy.share


#: What can be weighed, by name; of each the lowest value is the best.
AXES: Mapping[str, Callable[[TradeoffPoint], float | None]] = {
    "accuracy": _lost_share,
    "latency": lambda point: point.image_s,
    "size": lambda point: point.file_bytes,
    "energy": lambda point: point.energy_j,
}
DEFAULT_AXES = ("accuracy", "latency")


@dataclass(frozen=True)
class ParetoFront:
    """The points of the front, the fastest first, and why others were not compared, by name."""

    points: tuple[TradeoffPoint, ...]
    excluded: Mapping[str, str]


def pareto_front(
    points: Sequence[TradeoffPoint], over: Sequence[str] = DEFAULT_AXES
) -> ParetoFront:
    """Return the points that are not dominated.

    A point dominates another one if it is at least as good in everything of ``over`` (accuracy,
    latency, size, energy) and better in something. Of points that are equal in everything all
    stay. A point with a problem, or without one of the figures, is excluded. Raises ConfigError
    for an unknown name or none.
    """
    if not over:
        raise ConfigError(f"axes: expected some of {', '.join(AXES)}, got none")
    for name in over:
        if name not in AXES:
            raise ConfigError(f"axes: {name!r} is unknown{suggestion(name, AXES)}")
    excluded: dict[str, str] = {}
    compared: list[tuple[TradeoffPoint, tuple[float, ...]]] = []
    for point in points:
        found = {name: AXES[name](point) for name in over}
        missing = [name for name, value in found.items() if value is None]
        if point.problem:
            excluded[point.name] = point.problem
        elif missing:
            excluded[point.name] = f"not measured: {', '.join(missing)}"
        else:
            compared.append((point, tuple(value for value in found.values() if value is not None)))
    front = [
        point
        for point, values in compared
        if not any(_dominates(other, values) for _, other in compared)
    ]
    front.sort(key=lambda point: (point.image_s or 0.0, point.name))
    return ParetoFront(tuple(front), excluded)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

"""The history as a message: few enough points to draw, and none that hides a peak."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from edge_inference.observe.monitor.history import History

#: More points of a series than a chart has columns, and more values of all, are not drawn.
MAX_POINTS = 720
MAX_VALUES = 200_000

_RATE = "Hz"
#: Points further apart than so many buckets are not joined by a line.
_GAP_BUCKETS = 2.5


def history_text(history: History, since_s: float) -> str:
    """Return the last ``since_s`` seconds as a message of JSON, at most MAX_POINTS of a series.

    A point stands for some seconds with the worst of their values: the lowest of a rate, the
    highest of everything else. Unknown is null.
    """
    names = history.series()
    times, values = history.get(names, since_s)
    units = {name: history.unit(name) for name in values}
    points = min(MAX_POINTS, MAX_VALUES // max(1, len(values)))
    if len(times) > points:
        buckets = _Buckets(times, points)
        times = buckets.times
        values = {name: buckets.reduce(each, units[name]) for name, each in values.items()}
    series = ",".join(f"{json.dumps(name)}:{_numbers(each)}" for name, each in values.items())
    return (
        f'{{"type":"history","names":{json.dumps(list(values))},"units":{json.dumps(units)},'
        f'"times":[{",".join(f"{each:.3f}" for each in times)}],"values":{{{series}}}}}'
    )


class _Buckets:
    """Divides points into buckets of equal time; a gap between two of them stays a gap."""

    def __init__(self, times: NDArray[np.float64], count: int) -> None:
        width_s = (times[-1] - times[0]) / count
        places = np.minimum((times - times[0]) // max(width_s, 1e-9), count - 1)
        self._starts = np.flatnonzero(np.diff(places, prepend=-1.0))
        ends = np.append(self._starts[1:], len(times)) - 1
        newest = times[ends]
        self._gaps = np.flatnonzero(np.diff(newest) > _GAP_BUCKETS * width_s) + 1
        self.times = np.insert(newest, self._gaps, newest[self._gaps - 1] + width_s)

    def reduce(self, values: NDArray[np.float32], unit: str) -> NDArray[np.float32]:
        worst = np.fmin if unit == _RATE else np.fmax  # both prefer a number to NaN
        return np.insert(worst.reduceat(values, self._starts), self._gaps, np.nan)


def _numbers(values: NDArray[np.float32]) -> str:
    known = np.isfinite(values)
    texts = (
        f"{value:.6g}" if is_known else "null"
        for value, is_known in zip(values.tolist(), known.tolist(), strict=True)
    )
    return f"[{','.join(texts)}]"

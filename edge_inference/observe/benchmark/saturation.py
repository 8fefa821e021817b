"""Finds the highest rate at which hardly any frame is dropped.

Like the autotuner of ros2_benchmark, it searches by bisection with short probes, and accepts a
rate up to 5 % of dropped frames. Here the interval shrinks until it is a small share of the rate,
instead of a fixed width with a linear scan, and a probe of full length confirms the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: The name of the load at the highest rate.
SATURATION = "saturation"
MAX_DROP_SHARE = 0.05
#: The result is exact to this share.
_TOLERANCE = 0.02
_GROWTH = 1.5
#: Enough for a factor of a million between the first guess and the result.
_MAX_PROBES = 60


@dataclass(frozen=True)
class RateProbe:
    """The outcome at one rate; ``problem`` says why it could not be offered, such as the source."""

    rate_hz: float
    drop_share: float
    problem: str = ""

    @property
    def is_sustained(self) -> bool:
        """Whether the system under test keeps up with this rate."""
        return not self.problem and self.drop_share <= MAX_DROP_SHARE


@dataclass(frozen=True)
class Saturation:
    """``rate_hz`` is the highest rate that was sustained, None if none was.

    ``failed_hz`` is the lowest rate above it that was not sustained; None if the search ended at
    its highest rate, and the system may sustain more. ``limited_by`` is the reason where something
    other than the system under test sets the limit.
    """

    rate_hz: float | None
    failed_hz: float | None
    probes: tuple[RateProbe, ...]
    limited_by: str = ""


def find_saturation(
    probe: Callable[[float, bool], RateProbe],
    first_hz: float,
    *,
    min_hz: float = 0.1,
    max_hz: float = 10_000.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> Saturation:
    """Search from ``first_hz``; ``probe`` gets a rate, and whether it confirms the result."""
    search = _RateSearch(probe, min_hz, max_hz, cancelled)
    return search.run(min(max(first_hz, min_hz), max_hz))


class _RateSearch:
    def __init__(
        self,
        probe: Callable[[float, bool], RateProbe],
        min_hz: float,
        max_hz: float,
        cancelled: Callable[[], bool],
    ) -> None:
        self._probe = probe
        self._min_hz, self._max_hz = min_hz, max_hz
        self._cancelled = cancelled
        self._probes: list[RateProbe] = []
        self._failed: RateProbe | None = None
        #: Whether a short probe was lucky, so that only probes of full length are believed.
        self._is_careful = False

    def run(self, first_hz: float) -> Saturation:
        sustained_hz = self._bracket(first_hz)
        while sustained_hz is not None and not self._is_over():
            failed_hz = None if self._failed is None else self._failed.rate_hz
            if failed_hz is not None and failed_hz - sustained_hz > _TOLERANCE * sustained_hz:
                middle_hz = (failed_hz + sustained_hz) / 2
                if self._try(middle_hz):
                    sustained_hz = middle_hz
            elif self._try(sustained_hz, confirms=True):
                return self._result(sustained_hz)
            else:
                self._is_careful = True
                lower_hz = sustained_hz / (1 + 2 * _TOLERANCE)
                sustained_hz = None if lower_hz < self._min_hz else self._bracket(lower_hz)
        return self._result(None)  # no rate was confirmed

    def _bracket(self, rate_hz: float) -> float | None:
        """Return a sustained rate; ``_failed`` is then above it, unless there is none."""
        sustained_hz = None
        while not self._is_over():
            if self._try(rate_hz):
                sustained_hz = rate_hz
                if self._failed is not None or rate_hz >= self._max_hz:
                    return sustained_hz
                rate_hz = min(rate_hz * _GROWTH, self._max_hz)
            elif sustained_hz is not None:
                return sustained_hz
            elif rate_hz <= self._min_hz:
                return None
            else:
                rate_hz = max(rate_hz / _GROWTH, self._min_hz)
        return sustained_hz

    def _try(self, rate_hz: float, confirms: bool = False) -> bool:
        probe = self._probe(rate_hz, confirms or self._is_careful)
        self._probes.append(probe)
        if not probe.is_sustained:
            self._failed = probe
        return probe.is_sustained

    def _is_over(self) -> bool:
        return self._cancelled() or len(self._probes) >= _MAX_PROBES

    def _result(self, rate_hz: float | None) -> Saturation:
        failed = self._failed
        if self._cancelled():
            limited_by = "interrupted before the search ended"
        elif rate_hz is None and len(self._probes) >= _MAX_PROBES:
            limited_by = f"no rate was sustained twice in {_MAX_PROBES} probes"
        elif failed is not None:
            limited_by = failed.problem
        else:
            limited_by = f"the search ended at {self._max_hz:g} Hz"
        return Saturation(
            rate_hz, None if failed is None else failed.rate_hz, tuple(self._probes), limited_by
        )

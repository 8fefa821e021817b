"""Changes the precision of regions, one after the other, as long as it helps.

Each change is measured alone at first. Where the network is not accurate enough, those changes
are taken that remove the most noise for the time that they cost, noise being nearly additive
over regions (arXiv 1511.06393); where it is, those that save time, the largest first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_inference.optimize.placement.precision_candidate import (
    MIN_GAIN,
    REST,
    CandidateResult,
    PrecisionCandidate,
    RegionModes,
)

#: Predicted noise has to be this much below the floor.
_MARGIN_DB = 0.3
_MAX_STEPS = 8
_MAX_OTHER_MODES = 2
_LEAST_TIME = 0.01

#: Measures a candidate, on all images or only on a few, with its time or without; None where the
#: time for the search is over.
Evaluate = Callable[[PrecisionCandidate, bool, bool], CandidateResult | None]


@dataclass(frozen=True)
class RegionChange:
    """A mode for one region, with 7-bit weights or without."""

    region: int
    mode: str
    reduced: bool


@dataclass(frozen=True)
class _Measured:
    change: RegionChange
    time: float
    noise: float


class RegionSearch:
    """Improves a candidate whose regions all have one mode."""

    def __init__(
        self,
        modes: RegionModes,
        mode: str,
        others: Sequence[str],
        evaluate: Evaluate,
        *,
        can_reduce: bool,
        rest: str,
    ) -> None:
        """Start from ``mode`` everywhere; ``others`` are the fastest modes besides.

        ``can_reduce`` tells that 7-bit weights may be faster on this machine.
        """
        self._modes = modes
        self._start = [mode] * len(modes.regions)
        self._others = [REST, *others[:_MAX_OTHER_MODES]]
        self._evaluate = evaluate
        self._can_reduce = can_reduce
        self._rest = rest

    def changes(self) -> list[RegionChange]:
        """Return every change of one region."""
        regions = list(enumerate(self._modes.regions))
        found = [
            RegionChange(index, other, False)
            for other in self._others
            for index, region in regions
            if other != self._start[index]
            and self._modes.differs(region, self._start[index], other)
        ]
        if self._can_reduce:
            found += [
                RegionChange(index, self._start[index], True)
                for index, region in regions
                if self._start[index] != REST and self._modes.has_weights(region)
            ]
        return found

    def count(self) -> int:
        """Return how many changes differ in their pattern: those that are timed."""
        regions = self._modes.regions
        return len(
            {(regions[each.region].pattern, each.mode, each.reduced) for each in self.changes()}
        )

    def reach_floors(self, base: CandidateResult, min_sqnr_db: float) -> CandidateResult | None:
        """Return a candidate that keeps the floors, None where none is found."""
        base_time = base.relative_time
        assert base_time is not None
        few = self._evaluate(base.candidate, False, False)  # as the changes are measured
        if few is None:
            return None
        measured = [each for each in self._measure(every_region=True) if each.noise < few.noise]
        measured.sort(
            key=lambda each: (few.noise - each.noise) / max(each.time - base_time, _LEAST_TIME),
            reverse=True,
        )
        allowed = 10.0 ** (-(min_sqnr_db + _MARGIN_DB) / 10)
        on_all = base.noise / few.noise
        noise, taken, steps = base.noise, dict[int, _Measured](), 0
        for each in measured:
            if each.change.region in taken:
                continue
            taken[each.change.region] = each
            noise -= (few.noise - each.noise) * on_all
            if noise > allowed and base.noise > allowed:
                continue
            needed = dict(taken)
            if not steps:  # those that cost most may not be needed
                for one in sorted(taken.values(), key=lambda one: -one.time):
                    more = (few.noise - one.noise) * on_all
                    if noise + more <= allowed:
                        del needed[one.change.region]
                        noise += more
            taken = needed
            changes = {index: one.change for index, one in taken.items()}
            result = self._evaluate(self._candidate(changes), True, True)
            steps += 1
            if result is not None and result.keeps_floors:
                return result
            if result is None or steps == _MAX_STEPS:
                break
        return None

    def save_time(self, base: CandidateResult) -> CandidateResult:
        """Return the fastest candidate that keeps the floors, ``base`` if nothing is faster."""
        assert base.relative_time is not None
        regions = self._modes.regions
        gains = [
            each
            for each in self._measure(every_region=False)
            if each.time < base.relative_time * (1 - MIN_GAIN / 2)
        ]
        gains.sort(key=lambda each: each.time)
        best, taken = base, dict[int, RegionChange]()
        for each in gains[:_MAX_STEPS]:
            pattern = regions[each.change.region].pattern
            same = [index for index, region in enumerate(regions) if region.pattern == pattern]
            if any(index in taken for index in same):
                continue
            more = {
                index: RegionChange(index, each.change.mode, each.change.reduced) for index in same
            }
            result = self._evaluate(self._candidate({**taken, **more}), True, True)
            if result is None:
                break
            assert best.relative_time is not None
            if result.keeps_floors and (result.relative_time or math.inf) < best.relative_time:
                best, taken = result, {**taken, **more}
        return best

    def _measure(self, *, every_region: bool) -> list[_Measured]:
        """Measure each change alone; regions of one pattern are timed once."""
        times: dict[tuple[str, str, bool], float] = {}
        found = []
        for change in self.changes():
            pattern = self._modes.regions[change.region].pattern, change.mode, change.reduced
            is_timed = pattern not in times
            if not is_timed and not every_region:
                continue
            result = self._evaluate(self._candidate({change.region: change}), False, is_timed)
            if result is None:
                break
            if is_timed and result.relative_time is None:  # it does not run
                continue
            if result.relative_time is not None:
                times[pattern] = result.relative_time
            found.append(_Measured(change, times[pattern], result.noise))
        return found

    def _candidate(self, changes: dict[int, RegionChange]) -> PrecisionCandidate:
        modes, reduced = list(self._start), [False] * len(self._start)
        for index, change in changes.items():
            modes[index], reduced[index] = change.mode, change.reduced
        return self._modes.mixed(modes, reduced, self._rest)

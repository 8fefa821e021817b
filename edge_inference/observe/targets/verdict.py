"""Judges a measured value by its confidence interval against a bound."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from edge_inference.observe.statistics.intervals import Interval
from edge_inference.observe.targets.target_file import Target


class Verdict(enum.Enum):
    """The outcome of one target."""

    PASS = "PASS"
    FAIL = "FAIL"
    #: The interval contains the bound: there are too few samples, or the value is too close.
    INCONCLUSIVE = "INCONCLUSIVE"
    #: There is no value: no sensor, no such stage, or the pipeline did not start.
    NOT_MEASURED = "NOT MEASURED"


@dataclass(frozen=True)
class Judgment:
    """One target with its verdict; ``reason`` says why it is neither PASS nor FAIL."""

    scenario: str
    target: Target
    verdict: Verdict
    interval: Interval | None = None
    reason: str = ""

    @property
    def margin(self) -> float | None:
        """The distance from the value to the bound, negative where the value misses it."""
        if self.interval is None:
            return None
        distance = self.target.bound - self.interval.value
        return distance if self.target.is_maximum else -distance


def judge(scenario: str, target: Target, found: Interval | str) -> Judgment:
    """Judge a measured interval; a text is the reason why nothing was measured.

    A value passes only if the whole interval meets the bound, and fails only if all of it
    misses the bound.
    """
    if isinstance(found, str):
        return Judgment(scenario, target, Verdict.NOT_MEASURED, reason=found)
    met, missed = _compare(target, found)
    if met or missed:
        return Judgment(scenario, target, Verdict.PASS if met else Verdict.FAIL, found)
    unbounded = found.high if target.is_maximum else found.low
    if unbounded is None:
        worth = f", worth {found.effective:.0f}" if found.effective < found.samples - 1 else ""
        reason = f"too few samples ({found.samples}{worth})"
    else:
        reason = "the interval contains the bound"
    return Judgment(scenario, target, Verdict.INCONCLUSIVE, found, reason)


def _compare(target: Target, found: Interval) -> tuple[bool, bool]:
    low, high, bound = found.low, found.high, target.bound
    if target.is_maximum:
        return high is not None and high <= bound, low is not None and low > bound
    return low is not None and low >= bound, high is not None and high < bound


#: Exit codes: all required targets passed, one failed, one is open.
ALL_PASSED, ANY_FAILED, ANY_OPEN = 0, 1, 3


def exit_code(judgments: Iterable[Judgment]) -> int:
    """Return the exit code by the required targets."""
    verdicts = {each.verdict for each in judgments if each.target.required}
    if Verdict.FAIL in verdicts:
        return ANY_FAILED
    return ALL_PASSED if verdicts <= {Verdict.PASS} else ANY_OPEN

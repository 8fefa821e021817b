"""What a clock fault of a frame means, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from edge_inference.core.runtime.capture_stamps import (
    STAMP_IN_FUTURE,
    STAMP_IN_PAST,
    STAMP_WENT_BACK,
    STAMP_ZERO,
)
from edge_inference.core.runtime.latency import LatencyReport
from edge_inference.observe.frame_timeline import CLOCKS_DIFFER, STEADY_CLOCK

_EXPLANATIONS = {
    STAMP_ZERO: "have no stamp of capture, so that their age is unknown; let the driver set "
    "header.stamp",
    STAMP_IN_FUTURE: "are stamped after their arrival; synchronize the clock of the source with "
    "this machine's, or set use_sim_time on all nodes or on none",
    STAMP_IN_PAST: "are stamped too long ago for a live source; let the driver stamp with the "
    "system clock, or play a recording with --clock and use_sim_time",
    STAMP_WENT_BACK: "are stamped before the frame that came before them; play a recording once, "
    "and give each source its own frame_id",
    CLOCKS_DIFFER: "arrived at a machine before another one had sent them; synchronize the "
    "clocks of the machines with chrony or PTP",
    STEADY_CLOCK: "have moments on the steady clock that contradict each other; look for a "
    "second node of the same name",
}

#: Every kind of fault; of others, from outside, only the number is of interest.
CLOCK_FAULTS = frozenset(_EXPLANATIONS)
OTHER_FAULT = "other"


def count_clock_faults(report: LatencyReport) -> dict[str, int]:
    """Return the number of frames with each clock fault.

    Every stage that a frame passes reports it; the place with the most reports counts.
    """
    found: Counter[str] = Counter()
    for faults in (
        *(s.clock_faults for s in report.stages),
        *(e.clock_faults for e in report.ends),
    ):
        for name, count in faults.items():
            found[name] = max(found[name], count)
    return dict(found)


def describe_clock_faults(faults: Mapping[str, int]) -> list[str]:
    """Return a sentence for each kind of fault, with the number of frames."""
    return [
        f"clock fault {name}: {count} frames {explanation}"
        if (explanation := _EXPLANATIONS.get(name))
        else f"clock fault {name}: {count} frames"
        for name, count in sorted(faults.items())
        if count
    ]

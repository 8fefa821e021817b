"""What a clock fault of a frame means, and what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from edge_inference.core.runtime.latency import LatencyReport
from edge_inference.observe.frame_timeline import CLOCKS_DIFFER, STEADY_CLOCK

_EXPLANATIONS = {
    "stamp_zero": "without a stamp of capture, so that their age is unknown; set the stamps in the "
    "driver",
    "stamp_in_future": "captured after their arrival; synchronize the camera's clock with this "
    "machine's, or set use_sim_time everywhere or nowhere",
    "stamp_in_past": "with a stamp too old for a live source; stamp them on the ROS clock, or "
    "play a recording with --clock and use_sim_time",
    CLOCKS_DIFFER: "that arrived at a machine before another one had sent them; synchronize the "
    "clocks of the machines with chrony or PTP",
    STEADY_CLOCK: "whose moments on the steady clock contradict each other; look for a second "
    "node of the same name",
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

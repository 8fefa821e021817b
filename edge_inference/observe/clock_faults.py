"""What a clock fault of a frame means, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping

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


def describe_clock_faults(faults: Mapping[str, int]) -> list[str]:
    """Return a sentence for each kind of fault, with the number of frames."""
    return [
        f"clock fault {name}: {count} frames {explanation}"
        if (explanation := _EXPLANATIONS.get(name))
        else f"clock fault {name}: {count} frames"
        for name, count in sorted(faults.items())
        if count
    ]

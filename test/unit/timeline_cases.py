"""Frames that pass stages at given moments, and the timings that the stages report of them."""

from __future__ import annotations

from typing import Any

from edge_inference.core.runtime.latency import StageTiming

CLOCK = 7
#: The ROS clock is ahead of the steady clock by this.
EPOCH_NS = 1_000_000_000_000
MS = 1_000_000


def timing(
    stage: str,
    arrived: float,
    started: float,
    ended: float,
    published: float | None = None,
    *,
    captured: float | None = 0.0,
    namespace: str = "/ai",
    node: str = "",
    stamp: int | None = None,
    clock: int = CLOCK,
    skew: float = 0.0,
    **more: Any,
) -> StageTiming:
    """Return the timing of a frame; moments in milliseconds of the steady clock.

    ``skew`` is how far the ROS clock of the stage's machine is ahead. ``captured`` None: the stamp
    is zero.
    """
    dropped = more.get("dropped")
    stamp_ns = 0 if captured is None else EPOCH_NS + round(captured * MS)
    return StageTiming(
        stage=stage,
        node=node or f"{namespace}/{stage}",
        queue_ms=started - arrived,
        process_ms=None if dropped else ended - started,
        age_ms=None if captured is None else max(0.0, ended - captured + skew),
        stamp_ns=stamp_ns if stamp is None else stamp,
        frame_id=more.pop("frame_id", "cam"),
        # Steady clocks of different machines have nothing in common.
        ended_ns=round(ended * MS) + clock * 10**12,
        clock_id=clock,
        publish_ms=None if published is None else published - ended,
        **more,
    )


def perception(at: float = 0.0, captured: float | None = 0.0, **more: Any) -> list[StageTiming]:
    """Return the timings of a frame that takes from 2 to 40 ms after its capture."""
    if captured is not None:
        captured += at
    return [
        timing("preprocess", at + 2, at + 3, at + 6, at + 7, captured=captured, **more),
        timing("inference", at + 6.5, at + 10, at + 30, at + 31, captured=captured, **more),
        timing("decode", at + 30.5, at + 31, at + 38, at + 40, captured=captured, **more),
    ]

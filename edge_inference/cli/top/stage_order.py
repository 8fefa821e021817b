"""The order of stages and ends, their names, and the share of each stage in the time of a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from edge_inference.observe.frame_timeline import STAGES_BEFORE
from edge_inference.observe.monitor.snapshot import EndRow, StageRow

_PLACES = {stage: place for place, stage in enumerate(STAGES_BEFORE)}
_Row = TypeVar("_Row", StageRow, EndRow)


def in_order(rows: Iterable[_Row]) -> list[_Row]:
    """Return stages, or ends, in the order in which a frame passes them, then others."""
    return sorted(rows, key=lambda each: _PLACES.get(each.stage, len(_PLACES)))


def stage_names(rows: Sequence[StageRow] | Sequence[EndRow]) -> list[str]:
    """Return the name of each stage, with its node where several nodes have a stage of the name."""
    uses = Counter(row.stage for row in rows)
    return [row.stage if uses[row.stage] == 1 else f"{row.stage} {row.node}" for row in rows]


def time_shares(stages: Sequence[StageRow], ends: Sequence[EndRow]) -> list[float | None]:
    """Return the share of each stage in the time of a frame.

    It is the median of its way, queue and processing in the sum of these over all stages before the
    same end; None where one of them is unknown, or no end follows.
    """
    ways = [_way_to(end.stage) for end in in_order(ends)]
    shares: list[float | None] = []
    for stage in stages:
        way = next((way for way in ways if stage.stage in way), set())
        times = [_median_ms(each) for each in stages if each.stage in way]
        known = [time for time in times if time is not None]
        own, whole = _median_ms(stage), sum(known)
        is_known = len(known) == len(times) and whole > 0
        shares.append(own / whole if own is not None and is_known else None)
    return shares


def _median_ms(stage: StageRow) -> float | None:
    parts = (stage.transport.p50, stage.queue.p50, stage.process.p50)
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _way_to(stage: str) -> set[str]:
    """Return the stages that a frame may have passed at the end of this one."""
    way: set[str] = set()
    waiting = [stage]
    while waiting:
        name = waiting.pop()
        if name not in way:
            way.add(name)
            waiting += STAGES_BEFORE.get(name, ())
    return way

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


def time_share(stage: StageRow, ends: Sequence[EndRow]) -> float | None:
    """Return the share of a stage in the mean time from end to end.

    It is that of its way, queue and processing; None where a part is unknown, or no end follows.
    """
    following = [end for end in in_order(ends) if stage.stage in _way_to(end.stage)]
    whole = following[0].recent.mean if following else None
    parts = (stage.transport.mean, stage.queue.mean, stage.process.mean)
    known = [part for part in parts if part is not None]
    if whole is None or whole <= 0 or len(known) < len(parts):
        return None
    return min(sum(known) / whole, 1.0)


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

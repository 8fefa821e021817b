"""The sum of a board's rails, where nothing measures what the whole board takes in."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.boards import Board, matches_any

RAILS_SUM = "power/rails_sum"


def rails_sum(readings: Sequence[Reading], board: Board) -> Reading | None:
    """Return the sum of the rails that the board names; None where there is nothing to sum.

    It is never a total: the rails are less than what the board takes in. With
    one rail unknown the sum is unknown too.
    """
    powers = [each for each in readings if each.quantity is Quantity.POWER]
    if any(each.role is Role.TOTAL_POWER for each in powers):
        return None
    rails = [each for each in powers if matches_any(each.name, board.settings.summed_power)]
    if not rails:
        return None
    source = " + ".join(each.name for each in rails)
    oldest = min(each.stamp_ns for each in rails)
    values = [each.value for each in rails if each.value is not None]
    if len(values) == len(rails):
        return Reading(RAILS_SUM, Quantity.POWER, sum(values), source, oldest, role=Role.RAILS_SUM)
    lacking = next(each for each in rails if each.value is None)
    return Reading(
        RAILS_SUM,
        Quantity.POWER,
        None,
        source,
        oldest,
        _worth(lacking),
        Role.RAILS_SUM,
        f"{lacking.name} is unknown: {lacking.problem}",
    )


def _worth(lacking: Reading) -> ReadingStatus:
    """Return what a sum is worth that lacks a part: not there only where the part is late."""
    return ReadingStatus.STALE if lacking.status is ReadingStatus.STALE else ReadingStatus.INVALID

"""The sum of a board's rails, for a board whose total power is not measured."""

from __future__ import annotations

from collections.abc import Sequence

from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.platforms.board_files import Board, matches_any

RAILS_SUM = "power/rails_sum"


def sum_rails(readings: Sequence[Reading], board: Board) -> Reading | None:
    """Return the sum of the rails that the board names; None if there are none.

    The sum is not the total power: the rails are only a part of the board's input. If
    one rail has no value, the sum has none either.
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
    missing = next(each for each in rails if each.value is None)
    return Reading(
        RAILS_SUM,
        Quantity.POWER,
        None,
        source,
        oldest,
        # The sum is late if a rail is late; any other missing rail makes it invalid.
        ReadingStatus.STALE if missing.status is ReadingStatus.STALE else ReadingStatus.INVALID,
        Role.RAILS_SUM,
        f"{missing.name} has no value: {missing.problem}",
    )

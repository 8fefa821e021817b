"""Thermal zones: ``sys/class/thermal/thermal_zone*``, told by their type, never by their number."""

from __future__ import annotations

import time

from edge_inference.platforms.attributes import number_of, numbered, text_of, unique
from edge_inference.platforms.boards import Board
from edge_inference.platforms.channel import Clock
from edge_inference.platforms.sensor import Sensor
from edge_inference.platforms.temperature import Temperature, temperature_channel
from edge_inference.platforms.tree import Tree

_FOLDER = "sys/class/thermal"


def find(tree: Tree, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each zone: ``zone/<type>``, with its trip points."""
    zones: dict[str, str] = {}
    for path in numbered(tree, _FOLDER, "thermal_zone"):
        kind = text_of(tree, f"{path}/type") or path.rpartition("/")[2]
        zones[unique(f"zone/{kind}", zones)] = path
    deciding = board.deciding(list(zones))
    return [_zone(tree, board, clock, name, path, name in deciding) for name, path in zones.items()]


def _zone(
    tree: Tree, board: Board, clock: Clock, name: str, path: str, decides: bool
) -> Temperature:
    trips = _trip_points(tree, path)
    highest = board.settings.highest_c
    channel = temperature_channel(
        name,
        f"{path}/temp",
        board,
        decides=decides,
        throttle=_lowest(trips, "passive", highest),
        critical=_lowest(trips, "critical", highest),
    )
    return Temperature(
        (channel,), tree, clock, board.settings.largest_jump_c, board.is_placeholder(name)
    )


def _trip_points(tree: Tree, path: str) -> list[tuple[str, float]]:
    """Return what each trip point of a zone does, and its temperature."""
    found = []
    for name in tree.list(path):
        if name.startswith("trip_point_") and name.endswith("_type"):
            temperature = number_of(tree, f"{path}/{name.removesuffix('_type')}_temp")
            if temperature is not None:
                found.append((text_of(tree, f"{path}/{name}"), temperature / 1000))
    return found


def _lowest(trips: list[tuple[str, float]], kind: str, highest: float) -> float | None:
    """Return the lowest trip point of a kind; one at 0 or beyond all heat is switched off."""
    return min((at for what, at in trips if what == kind and 0 < at <= highest), default=None)

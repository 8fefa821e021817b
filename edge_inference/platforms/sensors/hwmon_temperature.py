"""Temperatures of processors that are no thermal zone: hwmon ``coretemp``, ``k10temp``."""

from __future__ import annotations

import re
import time

from edge_inference.platforms.attributes import number_of, numbered, text_of, unique
from edge_inference.platforms.boards import Board
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.sensors.temperature import Temperature, temperature_channel
from edge_inference.platforms.tree import Tree

_HWMON = "sys/class/hwmon"
_CHIPS = ("coretemp", "k10temp", "zenpower")
_INPUT = re.compile(r"(temp\d+)_input")
#: A core's own is below the package's, which is there too.
_CORE = re.compile(r"Core \d+|Tccd\d+")


def find(tree: Tree, board: Board, clock: Clock = time.monotonic_ns) -> list[Sensor]:
    """Return a sensor for each processor: ``temp/k10temp/Tctl``; cores are left out."""
    found: dict[str, Sensor] = {}
    believed: dict[str, tuple[float, int]] = {}
    for folder in numbered(tree, _HWMON, "hwmon"):
        chip = text_of(tree, f"{folder}/name")
        if chip not in _CHIPS:
            continue
        for file in tree.list(folder):
            match = _INPUT.fullmatch(file)
            label = text_of(tree, f"{folder}/{match[1]}_label") or match[1] if match else ""
            if match and not _CORE.fullmatch(label):
                name = unique(f"temp/{chip}/{label}", found)
                found[name] = _sensor(tree, board, clock, name, f"{folder}/{match[1]}", believed)
    return list(found.values())


def _sensor(
    tree: Tree,
    board: Board,
    clock: Clock,
    name: str,
    stem: str,
    believed: dict[str, tuple[float, int]],
) -> Temperature:
    channel = temperature_channel(
        name,
        f"{stem}_input",
        board,
        decides=bool(board.deciding([name])),
        throttle=_limit(tree, f"{stem}_max", board),
        critical=_limit(tree, f"{stem}_crit", board),
    )
    return Temperature(
        (channel,),
        tree,
        clock,
        board.settings.largest_jump_c,
        board.is_placeholder(name),
        believed,
    )


def _limit(tree: Tree, path: str, board: Board) -> float | None:
    number = number_of(tree, path)
    in_range = number is not None and 0 < number / 1000 <= board.settings.highest_c
    return number / 1000 if number is not None and in_range else None

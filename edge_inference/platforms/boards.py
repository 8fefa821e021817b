"""Boards: what a machine cannot tell of itself, read from one YAML file for each family.

Which temperature decides, which zone measures nothing, which rail feeds the
whole board. ``config/platforms/<name>.yaml`` holds the shipped ones; a new
board is one more file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from edge_inference.core.reading import Role
from edge_inference.core.settings import setting, suggestion
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError
from edge_inference.platforms.attributes import read_text
from edge_inference.platforms.system_files import SystemFiles

_COMPATIBLE = ("proc/device-tree/compatible", "sys/firmware/devicetree/base/compatible")
_DMI = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name")


@dataclass(frozen=True)
class BoardSettings:
    """The keys of a board's file. Patterns are as in a shell, upper and lower case alike.

    Patterns of readings are matched against whole names, as in ``zone/tj-therm*``.
    """

    description: str = setting(description="what machines these are")
    compatible: tuple[str, ...] = setting(
        (), "patterns of the device tree's 'compatible' entries that tell such a board"
    )
    dmi: tuple[str, ...] = setting(
        (), "patterns of the firmware's '<vendor> <product>' that tell such a board"
    )
    fallback: bool = setting(False, "whether it stands for every machine that no file tells")
    control: tuple[str, ...] = setting((), "temperatures that decide: patterns of readings")
    control_otherwise: tuple[str, ...] = setting(
        (), "zones that decide where no zone matches 'control': patterns of readings"
    )
    placeholders: tuple[str, ...] = setting(
        (), "sensors that say a number but measure nothing: patterns of readings"
    )
    total_power: tuple[str, ...] = setting(
        (), "power that the whole board takes in: patterns of readings"
    )
    summed_power: tuple[str, ...] = setting(
        (), "powers that do not overlap and are summed up where nothing measures the total"
    )
    throttling: tuple[str, ...] = setting(
        (), "cooling devices that slow the machine down while above 0: patterns of readings"
    )
    gpus: tuple[str, ...] = setting((), "GPU among the devfreq devices: patterns of their names")
    nvml: bool = setting(False, "whether to ask NVIDIA's management library for GPUs")
    lowest_c: float = setting(-40.0, "a temperature below cannot be true", unit="Cel")
    highest_c: float = setting(130.0, "a temperature above cannot be true", unit="Cel")
    largest_jump_c: float = setting(
        30.0,
        "a temperature that changes by more from one look to the next has to be confirmed "
        "by the look after it",
        unit="Cel",
        minimum=1.0,
    )

    def check(self) -> str | None:
        """Say what contradicts itself."""
        if self.lowest_c >= self.highest_c:
            return f"lowest_c ({self.lowest_c:g}) must be below highest_c ({self.highest_c:g})"
        if not (self.compatible or self.dmi or self.fallback):
            return "nothing tells such a board; give 'compatible', 'dmi' or 'fallback: true'"
        return None


@dataclass(frozen=True)
class Board:
    """A family of machines. ``name`` is its file's name without ``.yaml``."""

    name: str
    settings: BoardSettings

    def role_of_power(self, name: str) -> Role:
        """Return the role of a power reading by its name."""
        is_total = matches_any(name, self.settings.total_power)
        return Role.TOTAL_POWER if is_total else Role.NONE

    def deciding(self, names: Sequence[str]) -> set[str]:
        """Return those of the zones ``names`` that decide."""
        for patterns in (self.settings.control, self.settings.control_otherwise):
            found = {name for name in names if self._decides(name, patterns)}
            if found:
                return found
        return set()

    def is_placeholder(self, name: str) -> bool:
        """Tell whether a sensor of this name measures nothing."""
        return matches_any(name, self.settings.placeholders)

    def _decides(self, name: str, patterns: Iterable[str]) -> bool:
        return matches_any(name, patterns) and not self.is_placeholder(name)


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name matches any of the patterns, upper and lower case alike."""
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def load_boards(folders: Sequence[Path]) -> list[Board]:
    """Read every board's file in these folders; of two with one name the first folder's counts.

    Raises ConfigError with file, line and key for whatever is wrong in a file,
    and where no folder has any.
    """
    boards: dict[str, Board] = {}
    for folder in folders:
        for file in sorted(Path(folder).glob("*.yaml")):
            if file.stem not in boards:
                boards[file.stem] = Board(file.stem, load_yaml(file).read(BoardSettings))
    if not boards:
        places = ", ".join(str(folder) for folder in folders) or "no folder at all"
        raise ConfigError(f"no board is described in {places}; expected <board>.yaml files there")
    return list(boards.values())


def detect_board(files: SystemFiles, boards: Sequence[Board]) -> Board:
    """Return the board that the device tree tells, else the firmware, else the fallback.

    A device tree names the machine from its exact make to its chip; the board
    that matches the most exact of these names is taken.
    """
    for entry in _compatible(files):
        for board in boards:
            if matches_any(entry, board.settings.compatible):
                return board
    firmware = " ".join(read_text(files, path) for path in _DMI).strip()
    for board in boards:
        if firmware and matches_any(firmware, board.settings.dmi):
            return board
    for board in boards:
        if board.settings.fallback:
            return board
    names = ", ".join(board.name for board in boards)
    raise ConfigError(f"this machine is none of {names}; mark one file with 'fallback: true'")


def find_board(name: str, boards: Sequence[Board]) -> Board:
    """Return the board of this name; ConfigError that lists the known ones otherwise."""
    for board in boards:
        if board.name == name:
            return board
    known = [board.name for board in boards]
    raise ConfigError(f"no board is called {name!r}{suggestion(name, known)}")


def _compatible(files: SystemFiles) -> list[str]:
    for path in _COMPATIBLE:
        try:
            data = files.read(path)
        except OSError:
            continue
        return [entry for entry in data.decode("utf-8", "replace").split("\0") if entry.strip()]
    return []

"""Board descriptions: facts that a machine does not report, one YAML file for each family.

A board names the control temperatures, the zones that measure nothing and the rail that
feeds the whole board. ``config/platforms/<name>.yaml`` holds the shipped boards; a new
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
from edge_inference.platforms.board_sensor import BoardSensor
from edge_inference.platforms.file_patterns import join_patterns
from edge_inference.platforms.system_files import SystemFiles

_COMPATIBLE = ("proc/device-tree/compatible", "sys/firmware/devicetree/base/compatible")
_SENSORS = "sensors"
_DMI_NAMES = ("sys_vendor", "product_name")
_DMI = join_patterns(["sys/class/dmi/id"], _DMI_NAMES)

#: Files that identify a machine, also to a reader of its recording.
IDENTITY_FILES = (
    *join_patterns(("proc/device-tree", "sys/firmware/devicetree/base"), ("model", "compatible")),
    *join_patterns(
        ["sys/class/dmi/id"],
        (*_DMI_NAMES, "product_family", "board_vendor", "board_name", "chassis_type"),
    ),
)


@dataclass(frozen=True)
class BoardSettings:
    """The keys of a board file. Patterns are shell patterns and ignore case.

    A pattern of readings must match the whole name, as in ``zone/tj-therm*``.
    """

    description: str = setting(description="which machines the file describes")
    compatible: tuple[str, ...] = setting(
        (), "patterns of the device tree's 'compatible' entries that identify the board"
    )
    dmi: tuple[str, ...] = setting(
        (), "patterns of the firmware's '<vendor> <product>' that identify the board"
    )
    fallback: bool = setting(False, "true for the board of machines that no other file matches")
    control: tuple[str, ...] = setting((), "control temperatures: patterns of readings")
    control_fallback: tuple[str, ...] = setting(
        (), "control temperatures where no reading matches 'control': patterns of readings"
    )
    placeholders: tuple[str, ...] = setting(
        (), "sensors that report a number but measure nothing: patterns of readings"
    )
    total_power: tuple[str, ...] = setting(
        (), "input power of the whole board: patterns of readings"
    )
    summed_power: tuple[str, ...] = setting(
        (), "powers that do not overlap; they are added up where no sensor measures the total"
    )
    throttling: tuple[str, ...] = setting(
        (), "cooling devices that slow the machine down while above 0: patterns of readings"
    )
    gpus: tuple[str, ...] = setting((), "GPUs among the devfreq devices: patterns of their names")
    nvml: bool = setting(False, "true reads GPUs with NVIDIA's management library (NVML)")
    min_c: float = setting(-40.0, "a lower temperature is invalid", unit="Cel")
    max_c: float = setting(130.0, "a higher temperature is invalid", unit="Cel")
    max_jump_c: float = setting(
        30.0,
        "a temperature that changes by more between two samples must be confirmed by the next one",
        unit="Cel",
        minimum=1.0,
    )

    def check(self) -> str | None:
        """Return what contradicts itself, None if nothing does."""
        if self.min_c >= self.max_c:
            return f"min_c ({self.min_c:g}) must be below max_c ({self.max_c:g})"
        if not (self.compatible or self.dmi or self.fallback):
            return "nothing identifies the board; set 'compatible', 'dmi' or 'fallback: true'"
        return None


@dataclass(frozen=True)
class Board:
    """A family of machines. ``name`` is the name of its file without ``.yaml``.

    ``sensors`` are those that the file declares besides the ones of the kernel.
    """

    name: str
    settings: BoardSettings
    sensors: tuple[BoardSensor, ...] = ()

    @property
    def temperature_range(self) -> tuple[float, float]:
        """The lowest and the highest valid temperature, in °C."""
        return self.settings.min_c, self.settings.max_c

    def power_role(self, name: str) -> Role:
        """Return the role of a power reading by its name."""
        is_total = matches_any(name, self.settings.total_power)
        return Role.TOTAL_POWER if is_total else Role.NONE

    def control_names(self, names: Sequence[str]) -> set[str]:
        """Return those of ``names`` that are control temperatures."""
        for patterns in (self.settings.control, self.settings.control_fallback):
            found = {name for name in names if self._is_control(name, patterns)}
            if found:
                return found
        return set()

    def is_placeholder(self, name: str) -> bool:
        """Tell whether the sensor of this name measures nothing."""
        return matches_any(name, self.settings.placeholders)

    def _is_control(self, name: str, patterns: Iterable[str]) -> bool:
        return matches_any(name, patterns) and not self.is_placeholder(name)


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a name matches any of the patterns; case is ignored."""
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def list_board_folders(path: str, shipped: Path) -> list[Path]:
    """Return the folders of a colon-separated path, and last the one of the shipped boards.

    Raises ConfigError for the home folder of an unknown user, and for a folder that is none.
    """
    folders = []
    for part in filter(None, path.split(":")):
        try:
            folder = Path(part).expanduser()
        except RuntimeError as error:
            raise ConfigError(
                f"{part}: this user does not exist; write the path without ~"
            ) from error
        if not folder.is_dir():
            raise ConfigError(f"board files: expected a folder, got {folder}; correct the path")
        folders.append(folder)
    return [*folders, shipped]


def choose_board(name: str, files: SystemFiles, boards: Sequence[Board]) -> Board:
    """Return the board of this name, or without a name the one that the machine matches."""
    return find_board(name, boards) if name else detect_board(files, boards)


def load_boards(folders: Sequence[Path]) -> list[Board]:
    """Read all board files in these folders; a name in an earlier folder takes precedence.

    Raises ConfigError with file, line and key for an error in a file, and
    ConfigError if no folder holds a board file.
    """
    boards: dict[str, Board] = {}
    for folder in folders:
        for file in sorted(Path(folder).glob("*.yaml")):
            if file.stem not in boards:
                boards[file.stem] = _load_board(file)
    if not boards:
        places = ", ".join(str(folder) for folder in folders) or "an empty list of folders"
        raise ConfigError(f"board files: expected <board>.yaml in {places}, got none")
    return list(boards.values())


def _load_board(file: Path) -> Board:
    section = load_yaml(file)
    settings = section.read(BoardSettings, _SENSORS)
    listed = section.section_list(_SENSORS) if _SENSORS in section else ()
    sensors = tuple(each.read(BoardSensor) for each in listed)
    names = [sensor.name for sensor in sensors]
    for sensor, name in zip(listed, names, strict=True):
        if names.count(name) > 1:
            raise sensor.error("name", f"two sensors are called {name}; give each another name")
    return Board(file.stem, settings, sensors)


def detect_board(files: SystemFiles, boards: Sequence[Board]) -> Board:
    """Return the board that matches the device tree, else the firmware, else the fallback.

    A device tree lists names from the exact product to the chip; the board
    that matches the most specific name wins.
    """
    for entry in _read_compatible(files):
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
    raise ConfigError(f"this machine matches none of {names}; set 'fallback: true' in one file")


def find_board(name: str, boards: Sequence[Board]) -> Board:
    """Return the board of this name; raises ConfigError with a suggestion if it is unknown."""
    for board in boards:
        if board.name == name:
            return board
    known = [board.name for board in boards]
    raise ConfigError(f"unknown board {name!r}{suggestion(name, known)}")


def _read_compatible(files: SystemFiles) -> list[str]:
    for path in _COMPATIBLE:
        try:
            data = files.read(path)
        except OSError:
            continue
        return [entry for entry in data.decode("utf-8", "replace").split("\0") if entry.strip()]
    return []

"""Sensor probes: each finds the sensors of one kind on a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_inference.core.settings import shorten
from edge_inference.errors import PluginError
from edge_inference.platforms.board_files import Board
from edge_inference.platforms.file_patterns import FilePatterns, describe_path_error, matches_path
from edge_inference.platforms.sensors.channel import Clock
from edge_inference.platforms.sensors.checked_sensor import CheckedSensor
from edge_inference.platforms.sensors.sensor import Sensor
from edge_inference.platforms.system_files import SystemFiles


@dataclass(frozen=True)
class SensorProbe:
    """A row of the table of sensor kinds.

    ``find(files, board, clock)`` returns the sensors of this machine; it runs again every half a
    minute, and when a sensor vanishes. ``files`` are patterns of all files that it and its
    sensors read (``run/bms/*``); recordings hold these files. A probe without files reads
    something else, such as a library or a bus, so it runs on the machine itself and not on
    recordings. Of the files in ``lines``, recordings hold only lines that start so.
    """

    name: str
    find: Callable[[SystemFiles, Board, Clock], Sequence[Sensor]]
    files: FilePatterns = ()
    lines: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)

    def run(self, files: SystemFiles, board: Board, clock: Clock) -> list[Sensor]:
        """Find the sensors. Raises InputError for one that breaks the contract of sensors."""
        found = self.find(_DeclaredFiles(files, self), board, clock)
        return [CheckedSensor(sensor, board, clock) for sensor in found]


def describe_probe_error(probe: SensorProbe, _: Mapping[str, SensorProbe]) -> str | None:
    """Return why the probe of another package cannot be used, None if it can."""
    if not callable(probe.find):
        return f"expected find to be a function, got {probe.find!r}"
    if not _are_all(probe.files, str):
        return f"expected files to be a tuple of patterns, got {shorten(probe.files)}"
    for path, starts in probe.lines.items():
        if path not in probe.files or not _are_all(starts, bytes):
            return (
                f"expected lines to be a tuple of bytes for a file, got {path}: {shorten(starts)}"
            )
    return next((error for each in probe.files if (error := describe_path_error(each))), None)


def _are_all(values: object, kind: type) -> bool:
    return isinstance(values, tuple) and all(isinstance(each, kind) for each in values)


class _DeclaredFiles:
    """The files that a probe declares. To read another one is an error: no recording has it."""

    def __init__(self, files: SystemFiles, probe: SensorProbe) -> None:
        self._files = files
        self._probe = probe
        self._declared: set[str] = set()

    def read(self, path: str) -> bytes:
        self._require_declared(path)
        return self._files.read(path)

    def list(self, path: str) -> list[str]:
        return self._files.list(path)

    def modified_ns(self, path: str) -> int:
        self._require_declared(path)
        return self._files.modified_ns(path)

    def _require_declared(self, path: str) -> None:
        if path in self._declared:
            return
        if not matches_path(path, self._probe.files):
            raise PluginError(
                f"sensor kind {self._probe.name}: reads {path}, which is not among the files that "
                "its probe declares; add a pattern for it to 'files'"
            )
        self._declared.add(path)

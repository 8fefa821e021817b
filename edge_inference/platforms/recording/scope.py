"""What a recording takes along: the files that probes declare, and of some only a part.

No other file is read, so no file with serial numbers, addresses or user names is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge_inference.platforms.attributes import is_decimal
from edge_inference.platforms.board_files import IDENTITY_FILES, Board
from edge_inference.platforms.file_patterns import (
    FilePatterns,
    find_paths,
    is_kernel_file,
    matches_path,
)
from edge_inference.platforms.sensors import power_mode
from edge_inference.platforms.sensors.probes import list_probes
from edge_inference.platforms.system_files import SystemFiles

#: In place of a file of the user's own configuration that holds something else than a number.
_NO_NUMBER = b"(not a number)\n"


@dataclass(frozen=True)
class RecordingScope:
    """The files of a recording, by ``patterns``.

    Of the files in ``lines``, only lines that start so are recorded, and the files in ``numbers``
    only as far as they hold a number.
    """

    patterns: FilePatterns
    lines: Mapping[str, tuple[bytes, ...]]
    numbers: frozenset[str]

    def find_paths(self, files: SystemFiles) -> Iterator[str]:
        """Yield the files of a machine, once each; some of them may not be readable."""
        return find_paths(files, self.patterns)

    def includes(self, path: str) -> bool:
        """Tell whether a file would be recorded if it existed."""
        return matches_path(path, self.patterns)

    @staticmethod
    def counts_age(path: str) -> bool:
        """Tell whether a file is recorded each time it is written, also with equal content."""
        return not is_kernel_file(path)

    def keep_needed(self, path: str, content: bytes) -> bytes:
        """Return the part of a file's content that a recording holds."""
        if path in self.numbers:
            return content if is_decimal(content) or not content.strip() else _NO_NUMBER
        starts = self.lines.get(path)
        if starts is None:
            return content
        lines = content.splitlines(keepends=True)
        return b"".join(line for line in lines if line.startswith(starts))


def make_scope(board: Board) -> RecordingScope:
    """Return what a recording of this board takes along."""
    probes = list_probes(board)
    return RecordingScope(
        (*IDENTITY_FILES, *power_mode.FILES, *(each for probe in probes for each in probe.files)),
        {path: starts for probe in probes for path, starts in probe.lines.items()},
        frozenset(sensor.file for sensor in board.sensors),
    )

"""Shared code of the tests of recordings: a clock, and recordings made with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge_inference.platforms.board_files import find_board, load_boards
from edge_inference.platforms.recording.capture import CaptureSummary, record
from edge_inference.platforms.recording.recording import (
    FileContent,
    RecordedSample,
    RecordingHeader,
    format_header,
    format_sample,
)
from edge_inference.platforms.recording.scope import RecordingScope, make_scope
from edge_inference.platforms.system_files import SystemFiles

ZONE = "sys/class/thermal/thermal_zone0"
BOARDS = Path(__file__).parents[2] / "config" / "platforms"
SCOPE = make_scope(find_board("generic", load_boards([BOARDS])))
HEAD = RecordingHeader("a board", "6.1.0", "a note", False)


class ManualTime:
    """A clock that advances only by waiting; due events run meanwhile."""

    def __init__(self) -> None:
        self.now_ns = 10_000_000_000
        self.events: dict[float, Callable[[], None]] = {}
        self.ends_after_s = float("inf")

    def clock(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> bool:
        self.now_ns += round(seconds * 1e9)
        elapsed_s = self.now_ns / 1e9 - 10
        for moment in [moment for moment in self.events if moment <= elapsed_s]:
            self.events.pop(moment)()
        return elapsed_s >= self.ends_after_s


def record_files(
    files: SystemFiles,
    file: Path,
    time: ManualTime,
    duration_s: float = 0.0,
    header: RecordingHeader = HEAD,
    host: str = "",
    scope: RecordingScope = SCOPE,
) -> CaptureSummary:
    return record(
        files,
        file,
        header,
        scope,
        duration_s=duration_s,
        period_s=0.5,
        wait=time.wait,
        clock=time.clock,
        host_name=host,
        blocks_after_s=0.2,
    )


def write_recording(file: Path, *samples: tuple[float, dict[str, FileContent | None]]) -> Path:
    lines = [
        format_header(HEAD),
        *(format_sample(RecordedSample(moment, files)) for moment, files in samples),
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def read_or_errno(files: SystemFiles, path: str) -> bytes | int:
    try:
        return files.read(path)
    except OSError as error:
        assert error.errno is not None
        return error.errno

"""Snapshots as JSON lines: unknown is null, a decision comes once, a full disk is said once."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_inference.errors import ConfigError
from edge_inference.observe.export import snapshot_lines
from edge_inference.observe.export.snapshot_lines import SnapshotLines
from edge_inference.observe.monitor.snapshot import Decision
from robot_snapshot import DECISION, empty_snapshot, full_snapshot, make_platform

NEW = Decision(1_700_000_100.0, "level", "/ai/platform_manager", "full: 60 °C")


def read(file: Path) -> list[dict[str, Any]]:
    """Return the objects of a file; raise for anything that is no strict JSON."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return [json.loads(line, parse_constant=refuse) for line in file.read_text().splitlines()]


class FullDisk:
    """Writes ``room`` bytes, then fails with ``error`` until there is more room."""

    def __init__(self, room: int, error: int = errno.ENOSPC) -> None:
        self.room, self.error = room, error
        self.content = b""

    def write(self, number: int, data: bytes | memoryview) -> int:
        part = bytes(data[: self.room])
        if not part:
            raise OSError(self.error, os.strerror(self.error))
        self.room -= len(part)
        self.content += part
        return len(part)


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., SnapshotLines]:
    opened = []

    def make(on_message: Callable[[str], None] = pytest.fail) -> SnapshotLines:
        opened.append(SnapshotLines(str(tmp_path / "robot.jsonl"), on_message))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def test_each_snapshot_is_a_line_with_everything(
    tmp_path: Path, lines: Callable[..., SnapshotLines]
) -> None:
    output = lines()
    output.write(full_snapshot())
    output.write(empty_snapshot())
    full, empty = read(tmp_path / "robot.jsonl")
    assert full["stages"][1]["process"]["p99"] == 40.0
    assert full["engines"][0]["engine"] == 'ONNX Runtime 1.23 "CPU"'
    assert full["namespaces"] == ["/ai"]
    assert empty["platform"] is None and empty["stages"] == []
    assert empty["status"].startswith("no pipeline runs")


def test_what_is_not_finite_is_null(tmp_path: Path, lines: Callable[..., SnapshotLines]) -> None:
    platform = replace(make_platform(()), headroom=math.nan, power_w=math.inf)
    lines().write(replace(full_snapshot(), platform=platform))
    (found,) = read(tmp_path / "robot.jsonl")
    assert found["platform"]["headroom"] is found["platform"]["power_w"] is None


def test_a_decision_is_in_one_line_only(
    tmp_path: Path, lines: Callable[..., SnapshotLines]
) -> None:
    output = lines()
    for decisions in ((DECISION,), (DECISION,), (DECISION, NEW), (NEW,)):
        output.write(replace(full_snapshot(), decisions=decisions))
    found = [
        [each["text"] for each in line["decisions"]] for line in read(tmp_path / "robot.jsonl")
    ]
    assert found == [[DECISION.text], [], [NEW.text], []]


def test_a_file_is_continued(tmp_path: Path, lines: Callable[..., SnapshotLines]) -> None:
    lines().write(empty_snapshot())
    lines().write(empty_snapshot())
    assert len(read(tmp_path / "robot.jsonl")) == 2


def test_a_full_disk_is_said_once_and_the_lines_go_on_later(
    lines: Callable[..., SnapshotLines], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    output = lines(said.append)
    disk = FullDisk(room=100)
    monkeypatch.setattr(snapshot_lines.os, "write", disk.write)
    output.write(full_snapshot())
    output.write(full_snapshot())
    assert output.state.has_failed
    assert len(said) == 1 and "No space left on device; free space there" in said[0]
    disk.room = 1 << 20
    output.write(full_snapshot())
    assert not output.state.has_failed and "works again" in said[1]
    cut, *rest = disk.content.splitlines()
    assert len(cut) == 100
    # The decision was in the line that was cut off.
    assert [[d["text"] for d in json.loads(line)["decisions"]] for line in rest] == [
        [DECISION.text]
    ]


def test_the_end_of_the_reader_ends_the_command(
    lines: Callable[..., SnapshotLines], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = lines()
    monkeypatch.setattr(snapshot_lines.os, "write", FullDisk(0, errno.EPIPE).write)
    with pytest.raises(BrokenPipeError):
        output.write(empty_snapshot())


@pytest.mark.parametrize("name", ["", "no/such/folder/robot.jsonl"])
def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--json"):
        SnapshotLines(str(tmp_path / name), pytest.fail)


def test_a_pipe_needs_a_reader(tmp_path: Path, lines: Callable[..., SnapshotLines]) -> None:
    pipe = tmp_path / "robot.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="nobody reads from this pipe yet"):
        lines()
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        lines().write(empty_snapshot())
        assert "namespace" in json.loads(os.read(reading, 1 << 16))
    finally:
        os.close(reading)

"""The recorder: its thread, its bounds, and what happens when writing fails."""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge_inference.errors import ConfigError, InputError
from edge_inference.observe.recording import mcap_recorder
from edge_inference.observe.recording.mcap_recorder import McapRecorder
from edge_inference.observe.recording.mcap_recovery import read_contents
from edge_inference.observe.recording.ros_schemas import RosSchema
from mcap_judges import SmallDisk, needs_mcap, read_by_index

pytestmark = needs_mcap
DEADLINE_S = 60.0
TEXT = RosSchema("std_msgs/msg/String", "string data")


class Item(NamedTuple):
    text: str
    stamp_ns: int = 0


def to_bytes(item: Item) -> bytes:
    return item.text.encode()


def wait_for(predicate: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.mcap"


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def recorder(file: Path, problems: list[str]) -> Iterator[McapRecorder]:
    recorder = McapRecorder(file, problems.append)
    yield recorder
    recorder.close()


def test_what_is_added_is_in_the_file(recorder: McapRecorder, file: Path) -> None:
    before_ns = time.time_ns()
    add = {topic: recorder.add_topic(topic, lambda: TEXT, to_bytes) for topic in ("/a", "/b")}
    recorder.add_topic("/silent", lambda: TEXT, to_bytes)
    for number in range(50):
        add["/a" if number % 2 else "/b"](Item(str(number)))
    summary = recorder.close()
    found = read_by_index(file)
    assert [message.data for _, _, message in found] == [b"%d" % number for number in range(50)]
    assert all(c.topic == ("/a" if int(m.data) % 2 else "/b") for _, c, m in found)
    assert {(s.id, s.name, s.encoding, s.data) for s, _, _ in found} == {
        (1, "std_msgs/msg/String", "ros2msg", b"string data")
    }
    assert {channel.message_encoding for _, channel, _ in found} == {"cdr"}
    assert all(before_ns <= m.log_time == m.publish_time <= time.time_ns() for _, _, m in found)
    assert (summary.messages, summary.topics, summary.dropped, summary.failed) == (50, 2, 0, 0)
    assert summary.size == file.stat().st_size
    assert str(summary) == f"recorded: 50 messages of 2 topics in {file} (0.0 MB)"
    assert summary.to_json()["bytes"] == summary.size
    assert recorder.close() == summary


def test_the_publish_time_is_the_capture_stamp_where_it_can_be(
    recorder: McapRecorder, file: Path
) -> None:
    now_ns = time.time_ns()
    stamps = [now_ns - 50_000_000, 0, 12_345, now_ns + 10**12, -1]
    add = recorder.add_topic("/a", lambda: TEXT, to_bytes)
    for stamp_ns in stamps:
        add(Item("x", stamp_ns))
    recorder.close()
    messages = [message for _, _, message in read_by_index(file)]
    assert messages[0].publish_time == stamps[0]
    assert [m.publish_time for m in messages[1:]] == [m.log_time for m in messages[1:]]


def test_messages_are_on_disk_before_the_end(recorder: McapRecorder, file: Path) -> None:
    recorder.add_topic("/a", lambda: TEXT, to_bytes)(Item("x"))
    wait_for(lambda: read_contents(file).counts == {"/a": 1}, "a message in the file")
    assert not read_contents(file).is_finished


def test_a_slow_disk_costs_messages_and_no_time(
    recorder: McapRecorder, file: Path, problems: list[str]
) -> None:
    disk, is_blocked = threading.Event(), threading.Event()

    def wait_for_the_disk(item: Item) -> bytes:
        is_blocked.set()
        disk.wait(DEADLINE_S)
        return to_bytes(item)

    add = recorder.add_topic("/a", lambda: TEXT, wait_for_the_disk, max_waiting=10)
    add(Item("first"))
    assert is_blocked.wait(DEADLINE_S)
    for number in range(25):
        add(Item(str(number)))
    disk.set()
    summary = recorder.close()
    assert (summary.messages, summary.dropped, summary.problem) == (11, 15, "")
    assert "15 dropped, because they came faster" in str(summary)
    assert (read_contents(file).counts, problems) == ({"/a": 11}, [])


def test_an_object_without_a_message_is_said_once(
    recorder: McapRecorder, problems: list[str]
) -> None:
    def refuse(item: Item) -> bytes:
        if item.text == "odd":
            raise InputError("mask: expected uint8")
        raise ValueError("unexpected")

    def find_nothing() -> RosSchema:
        raise InputError("message type a/B: expected its definition")

    bad = recorder.add_topic("/bad", lambda: TEXT, refuse)
    undefined = recorder.add_topic("/undefined", find_nothing, to_bytes)
    good = recorder.add_topic("/good", lambda: TEXT, to_bytes)
    for item in (Item("odd"), Item("other"), Item("odd")):
        for add in (bad, undefined, good):
            add(item)
    summary = recorder.close()
    assert (summary.messages, summary.topics, summary.failed) == (3, 1, 6)
    assert problems == [
        "/bad: an object cannot be recorded: mask: expected uint8",
        "/undefined: an object cannot be recorded: message type a/B: expected its definition",
    ]


def test_a_full_disk_ends_the_recording_and_nothing_else(
    file: Path, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_recorder, "create_file", lambda file: SmallDisk())
    recorder = McapRecorder(file, problems.append)
    add = recorder.add_topic("/a", lambda: TEXT, to_bytes)
    add(Item("x"))
    wait_for(lambda: bool(problems), "a sentence about the disk")
    add(Item("y"))
    summary = recorder.close()
    (problem,) = problems
    assert f"{file}: cannot be written (No space left on device; free space there" in problem
    assert "recording recover" in problem
    assert summary.problem in problem
    assert "it ended early: " in str(summary)


class LateDisk(io.BytesIO):
    """A disk whose lack of room shows only when what was buffered goes to it."""

    def flush(self) -> None:
        if self.tell() > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_is_full_at_the_end_is_said(
    file: Path, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_recorder, "create_file", lambda file: LateDisk())
    recorder = McapRecorder(file, problems.append)
    recorder.add_topic("/a", lambda: TEXT, to_bytes)(Item("x"))
    assert "No space left on device" in recorder.close().problem
    assert len(problems) == 1


def test_a_disk_that_is_full_already_is_said_at_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.touch()
    full = Path("/dev/full").open("wb")  # noqa: SIM115 - the recorder has it
    monkeypatch.setattr(mcap_recorder, "create_file", lambda file: full)
    with pytest.raises(ConfigError, match="No space left on device; free space"):
        McapRecorder(file, print)
    assert not file.exists()
    with suppress(OSError):
        full.close()


def test_a_file_that_exists_stays(file: Path) -> None:
    file.write_text("mine")
    with pytest.raises(ConfigError, match="it exists; remove it, or name another file"):
        McapRecorder(file, print)
    assert file.read_text() == "mine"


def test_a_discarded_file_is_gone(recorder: McapRecorder, file: Path) -> None:
    add = recorder.add_topic("/a", lambda: TEXT, to_bytes)
    add(Item("x"))
    recorder.discard()
    assert not file.exists()
    add(Item("late"))


def test_many_threads_add(recorder: McapRecorder, file: Path) -> None:
    add: Any = recorder.add_topic("/a", lambda: TEXT, to_bytes, max_waiting=100_000)

    def add_many(name: str) -> None:
        for number in range(500):
            add(Item(f"{name} {number}"))

    threads = [threading.Thread(target=add_many, args=(str(each),)) for each in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.close().messages == 3000
    assert read_contents(file).counts == {"/a": 3000}

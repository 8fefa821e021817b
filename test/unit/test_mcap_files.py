"""MCAP files: what they hold, also those of other programs, and what is refused."""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.core.disk import create_file
from edge_inference.errors import ConfigError
from edge_inference.observe.recording.mcap_library import start_writer
from edge_inference.observe.recording.mcap_recorder import McapRecorder
from edge_inference.observe.recording.mcap_recovery import read_contents, recover
from mcap_judges import needs_mcap, read_by_index, read_summary

TOPICS = ("/ai/detections", "/ai/stage_timing", "/übrige")
MESSAGES = [
    (topic, number, bytes([number % 256]) * number)
    for number in range(60)
    for topic in TOPICS[: 1 + number % 3]
]
COUNTS = Counter(topic for topic, _, _ in MESSAGES)


def write(file: Path) -> None:
    """Write MESSAGES, seven in a chunk."""
    with create_file(file) as stream:
        writer = start_writer(stream, "ros2")
        schema = writer.register_schema("pkg/msg/Name", "ros2msg", b"uint8[] data")
        channels = {topic: writer.register_channel(topic, "cdr", schema) for topic in TOPICS}
        for count, (topic, number, data) in enumerate(MESSAGES, start=1):
            writer.add_message(channels[topic], 1000 + number, data, 900 + number)
            if count % 7 == 0:
                writer.flush()
        writer.finish()


@needs_mcap
def test_the_contents(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    write(file)
    contents = read_contents(file)
    assert contents.counts == COUNTS
    assert contents.types == dict.fromkeys(TOPICS, "pkg/msg/Name")
    assert (contents.begin_ns, contents.end_ns, contents.cut_bytes) == (1000, 1059, 0)
    assert contents.is_finished
    shown = contents.to_json()
    assert (shown["messages"], shown["bytes"]) == (len(MESSAGES), file.stat().st_size)
    assert shown["topics"][TOPICS[0]] == {"type": "pkg/msg/Name", "messages": 60}


@needs_mcap
def test_chunks_are_compressed_and_the_profile_is_kept(tmp_path: Path) -> None:
    file, copy = tmp_path / "run.mcap", tmp_path / "copy.mcap"
    write(file)
    recover(file, copy)
    for each in (file, copy):
        assert {index.compression for index in read_summary(each).chunk_indexes} == {"lz4"}
        with each.open("rb") as stream:
            header = importlib.import_module("mcap.reader").make_reader(stream).get_header()
        assert (header.profile, header.library) == ("ros2", "edge_inference")


@needs_mcap
def test_a_reader_of_bags_reads_a_copy(tmp_path: Path) -> None:
    pytest.importorskip("rosbags", reason="the package rosbags is not installed")
    write(tmp_path / "run.mcap")
    recover(tmp_path / "run.mcap", tmp_path / "copy.mcap")
    with importlib.import_module("rosbags.rosbag2").Reader(tmp_path / "copy.mcap") as reader:
        assert {connection.msgtype for connection in reader.connections} == {"pkg/msg/Name"}
        found = [(c.topic, time - 1000, bytes(data)) for c, time, data in reader.messages()]
    assert sorted(found) == sorted(MESSAGES)


@needs_mcap
def test_an_empty_recording_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    McapRecorder(file, print).close()
    assert read_summary(file).statistics.message_count == 0
    contents = read_contents(file)
    assert (contents.is_finished, contents.duration_s, contents.counts.total()) == (True, None, 0)


@needs_mcap
@pytest.mark.parametrize("compression", ["ZSTD", "LZ4", "NONE"])
@pytest.mark.parametrize("with_chunks", [True, False])
def test_a_file_of_others(tmp_path: Path, compression: str, with_chunks: bool) -> None:
    module = importlib.import_module("mcap.writer")
    file = tmp_path / "other.mcap"
    with file.open("wb") as stream:
        writer = module.Writer(
            stream,
            chunk_size=200,
            compression=module.CompressionType[compression],
            use_chunking=with_chunks,
        )
        writer.start("other", "someone")
        schema = writer.register_schema("s", "jsonschema", b"{}")
        described = writer.register_channel("/a", "json", schema, {"x": "y"})
        plain = writer.register_channel("/b", "json", 0)
        writer.add_attachment(1, 2, "name", "text/plain", b"text")
        writer.add_metadata("name", {"a": "b"})
        for number in range(40):
            writer.add_message(described, number, bytes(number), number, sequence=number + 5)
            writer.add_message(plain, number, b"{}", number)
        writer.finish()
    contents = read_contents(file)
    assert (contents.counts, contents.others) == ({"/a": 40, "/b": 40}, 2)
    assert contents.types == {"/a": "s", "/b": ""}
    assert recover(file, tmp_path / "copy.mcap").counts == contents.counts
    copied = read_by_index(tmp_path / "copy.mcap")

    def values(found: list) -> list:
        return [(c.topic, c.metadata, m.sequence, m.log_time, m.data) for _, c, m in found]

    with file.open("rb") as stream:
        original = list(importlib.import_module("mcap.reader").make_reader(stream).iter_messages())
    assert sorted(values(copied), key=repr) == sorted(values(original), key=repr)


@needs_mcap
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "expected an MCAP file"),
        (b"\x89MCAP0", "expected an MCAP file"),
        (b"not a recording", "expected an MCAP file"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "run.mcap"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_contents(file)
    with pytest.raises(ConfigError, match=words):
        recover(file, tmp_path / "fixed.mcap")
    assert not (tmp_path / "fixed.mcap").exists()


@needs_mcap
def test_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_contents(tmp_path / name)


@needs_mcap
def test_nothing_is_overwritten(tmp_path: Path) -> None:
    file, other = tmp_path / "run.mcap", tmp_path / "other"
    write(file)
    before = file.read_bytes()
    other.write_text("mine")
    for target in (file, other):
        with pytest.raises(ConfigError, match="it exists; remove it, or name another"):
            recover(file, target)
    with pytest.raises(ConfigError, match=r"none/fixed\.mcap: cannot be written"):
        recover(file, tmp_path / "none" / "fixed.mcap")
    assert (file.read_bytes(), other.read_text()) == (before, "mine")


@pytest.mark.parametrize("module", ["mcap.writer", "lz4.frame"])
def test_without_the_library_a_sentence_names_the_extra(
    tmp_path: Path,
    module: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    file, fixed = tmp_path / "run.mcap", tmp_path / "fixed.mcap"
    file.touch()
    for command in (
        ["recording", "info", str(file)],
        ["recording", "recover", str(file), str(fixed)],
        ["run", "perception", "--source", "sample", "--mcap", str(fixed)],
        ["run", "voice", "--source", "sample", "--mcap", str(fixed)],
    ):
        assert run(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "recordings need the package mcap 1.5 or newer (extra 'mcap'), which" in line
        assert "pip install 'mcap>=1.5,<2'" in line
    with pytest.raises(ConfigError, match="recordings need"):
        McapRecorder(fixed, print)
    assert not fixed.exists()


@needs_mcap
def test_a_library_that_is_too_old_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(importlib.import_module("mcap.writer").Writer, "flush")
    with pytest.raises(ConfigError, match="got an older version; install it with"):
        McapRecorder(tmp_path / "run.mcap", print)
    assert list(tmp_path.iterdir()) == []

"""MCAP files: what is written is what the mcap library, and this package, read."""

from __future__ import annotations

import importlib
import os
import struct
import zlib
from pathlib import Path

import pytest

from edge_inference.core.disk import create_file
from edge_inference.errors import ConfigError
from edge_inference.observe.recording import mcap_writer
from edge_inference.observe.recording.mcap_records import McapChunk, RecordKind
from edge_inference.observe.recording.mcap_recovery import read_contents, recover
from edge_inference.observe.recording.mcap_writer import McapWriter
from mcap_judges import needs_mcap, read_by_index, read_in_order, read_summary

TOPICS = ("/ai/detections", "/ai/stage_timing", "/übrige")
MESSAGES = [
    (topic, number, bytes([number % 256]) * number)
    for number in range(60)
    for topic in TOPICS[: 1 + number % 3]
]


def write(file: Path, per_chunk: int = 0) -> list[int]:
    """Write MESSAGES; return the size of the file after each chunk of so many (0: one chunk)."""
    sizes = []
    with create_file(file) as stream:
        writer = McapWriter(stream, "ros2")
        schema = writer.add_schema("pkg/msg/Name", "ros2msg", b"uint8[] data")
        channels = {
            topic: writer.add_channel(topic, "cdr", schema, {"key": "välue"}) for topic in TOPICS
        }
        for count, (topic, number, data) in enumerate(MESSAGES, start=1):
            writer.add_message(channels[topic], 1000 + number, 900 + number, data)
            if per_chunk and count % per_chunk == 0:
                writer.flush()
                sizes.append(writer.size)
        writer.finish()
    assert writer.size == file.stat().st_size
    return sizes


@needs_mcap
@pytest.mark.parametrize("per_chunk", [0, 1, 7])
def test_the_library_reads_what_was_written(tmp_path: Path, per_chunk: int) -> None:
    file = tmp_path / "run.mcap"
    write(file, per_chunk)
    summary = read_summary(file)
    counts = {topic: sum(each[0] == topic for each in MESSAGES) for topic in TOPICS}
    statistics = summary.statistics
    assert statistics.message_count == len(MESSAGES)
    assert (statistics.message_start_time, statistics.message_end_time) == (1000, 1059)
    assert statistics.chunk_count == len(summary.chunk_indexes)
    topics = {number: channel.topic for number, channel in summary.channels.items()}
    assert {topics[n]: c for n, c in statistics.channel_message_counts.items()} == counts
    for found in (read_in_order(file), read_by_index(file)):
        read = [(c.topic, m.log_time - 1000, m.publish_time - 900, m.data) for _, c, m in found]
        assert sorted(read) == sorted((topic, n, n, data) for topic, n, data in MESSAGES)
        assert {(s.name, s.encoding, s.data) for s, _, _ in found} == {
            ("pkg/msg/Name", "ros2msg", b"uint8[] data")
        }
        assert all(c.metadata == {"key": "välue"} for _, c, _ in found)
        sequences = [m.sequence for _, c, m in found if c.topic == TOPICS[0]]
        assert sequences == list(range(counts[TOPICS[0]]))


@pytest.mark.parametrize("per_chunk", [0, 7])
def test_a_reader_of_bags_reads_what_was_written(tmp_path: Path, per_chunk: int) -> None:
    pytest.importorskip("rosbags", reason="the package rosbags is not installed")
    file = tmp_path / "run.mcap"
    write(file, per_chunk)
    with importlib.import_module("rosbags.rosbag2").Reader(file) as reader:
        assert reader.message_count == len(MESSAGES)
        assert {connection.msgtype for connection in reader.connections} == {"pkg/msg/Name"}
        found = [(c.topic, time - 1000, bytes(data)) for c, time, data in reader.messages()]
    assert sorted(found) == sorted(MESSAGES)


@needs_mcap
def test_the_library_finds_a_moment_by_the_index(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    write(file, 5)
    with file.open("rb") as stream:
        reader = importlib.import_module("mcap.reader").SeekingReader(stream)
        found = list(reader.iter_messages([TOPICS[2]], starting_at=1030, ending_before=1040))
    assert [m.log_time for _, _, m in found] == [1032, 1035, 1038]


@needs_mcap
def test_the_index_points_to_every_message(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    write(file, 20)
    data = file.read_bytes()
    found = 0
    for index in read_summary(file).chunk_indexes:
        begin, end = index.chunk_start_offset, index.chunk_start_offset + index.chunk_length
        records = lz4_records(data[begin + 9 : end])
        entries_end = end + index.message_index_length
        assert min(index.message_index_offsets.values()) == end
        assert data[entries_end] in (RecordKind.CHUNK, RecordKind.DATA_END)
        for channel_id, offset in index.message_index_offsets.items():
            kind, length, channel, size = struct.unpack_from("<BQHI", data, offset)
            assert (kind, channel, length) == (RecordKind.MESSAGE_INDEX, channel_id, size + 6)
            for log_ns, place in struct.iter_unpack("<QQ", data[offset + 15 : offset + 15 + size]):
                message = struct.unpack_from("<BQHIQ", records, place)
                assert (message[0], message[2], message[4]) == (5, channel_id, log_ns)
                found += 1
    assert found == len(MESSAGES)


def lz4_records(chunk: bytes) -> bytes:
    """Return the records of a compressed chunk."""
    lz4 = pytest.importorskip("lz4.frame", reason="the package lz4 is not installed")
    return bytes(lz4.decompress(McapChunk.unpack(chunk).data))


def test_the_checksum_of_the_index(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    write(file, 20)
    data = file.read_bytes()
    begin, _, checksum = struct.unpack_from("<QQI", data, len(data) - 28)
    assert data[len(data) - 37] == RecordKind.FOOTER
    assert zlib.crc32(data[begin : len(data) - 12]) == checksum


@needs_mcap
def test_an_empty_recording_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    with create_file(file) as stream:
        McapWriter(stream, "ros2").finish()
    assert read_in_order(file) == []
    assert read_summary(file).statistics.message_count == 0
    contents = read_contents(file)
    assert (contents.is_finished, contents.duration_s, contents.counts.total()) == (True, None, 0)


@needs_mcap
def test_without_lz4_chunks_are_not_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_writer, "_find_lz4", lambda: None)
    file = tmp_path / "run.mcap"
    write(file, 50)
    assert {index.compression for index in read_summary(file).chunk_indexes} == {""}
    assert len(read_by_index(file)) == len(MESSAGES)
    assert read_contents(file).counts.total() == len(MESSAGES)


def test_a_chunk_ends_at_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.mcap"
    write(file)
    monkeypatch.setattr(mcap_writer, "CHUNK_BYTES", 300)
    split = tmp_path / "split.mcap"
    write(split)
    assert split.stat().st_size > file.stat().st_size + 10 * 100
    assert read_contents(split).counts == read_contents(file).counts


def test_the_contents(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    write(file, 9)
    contents = read_contents(file)
    assert contents.counts == {
        topic: sum(each[0] == topic for each in MESSAGES) for topic in TOPICS
    }
    assert contents.types == dict.fromkeys(TOPICS, "pkg/msg/Name")
    assert (contents.begin_ns, contents.end_ns, contents.cut_bytes) == (1000, 1059, 0)
    assert contents.is_finished
    shown = contents.to_json()
    assert (shown["messages"], shown["bytes"]) == (len(MESSAGES), file.stat().st_size)
    assert shown["topics"][TOPICS[0]] == {"type": "pkg/msg/Name", "messages": 60}


@needs_mcap
def test_a_file_of_others(tmp_path: Path) -> None:
    pytest.importorskip("zstandard", reason="the package zstandard is not installed")
    module = importlib.import_module("mcap.writer")
    file = tmp_path / "other.mcap"
    with file.open("wb") as stream:
        writer = module.Writer(stream, chunk_size=200, compression=module.CompressionType.ZSTD)
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
    original = read_by_index(file)

    def values(found: list) -> list:
        return [(c.topic, c.metadata, m.sequence, m.log_time, m.data) for _, c, m in found]

    assert sorted(values(copied), key=repr) == sorted(values(original), key=repr)


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


def test_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_contents(tmp_path / name)


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

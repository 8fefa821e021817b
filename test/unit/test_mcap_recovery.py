"""Recordings that were cut at any byte, or damaged: what is whole is recovered."""

from __future__ import annotations

import importlib
import itertools
import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.core.disk import create_file
from edge_inference.observe.recording import mcap_scan
from edge_inference.observe.recording.mcap_library import start_writer
from edge_inference.observe.recording.mcap_recovery import read_contents, recover
from edge_inference.observe.recording.mcap_scan import MAGIC
from mcap_judges import needs_mcap, read_by_index, read_in_order

pytestmark = needs_mcap
CHUNKS, PER_CHUNK = 4, 3
SCHEMA, CHANNEL, MESSAGE, CHUNK = 3, 4, 5, 6


def write_small(file: Path) -> list[tuple[int, int]]:
    """Write a small recording; return where each chunk ends, and how many messages are before."""
    ends = []
    with create_file(file) as stream:
        writer = start_writer(stream, "ros2")
        channels = [
            writer.register_channel(
                topic, "cdr", writer.register_schema(topic[1:], "ros2msg", b"int8 a")
            )
            for topic in ("/a", "/b")
        ]
        for number in range(CHUNKS * PER_CHUNK):
            writer.add_message(channels[number % 2], number + 1, b"data %d" % number, number + 1)
            if number % PER_CHUNK == PER_CHUNK - 1:
                before = stream.tell()
                writer.flush()
                # A chunk can be read without the index after it.
                (length,) = struct.unpack_from("<Q", file.read_bytes(), before + 1)
                ends.append((before + 9 + length, number + 1))
        writer.finish()
    return ends


def test_cut_at_every_byte(tmp_path: Path) -> None:
    whole, cut, fixed = (tmp_path / name for name in ("whole.mcap", "cut.mcap", "fixed.mcap"))
    ends = write_small(whole)
    data = whole.read_bytes()
    for length in range(len(MAGIC), len(data) + 1):
        cut.write_bytes(data[:length])
        expected = max((count for end, count in ends if end <= length), default=0)
        broken = recover(cut, fixed)
        assert broken.counts.total() == expected, length
        assert broken.is_finished == (length == len(data))
        assert broken.damaged == broken.unknown == 0
        copy = read_contents(fixed)
        assert (copy.counts, copy.is_finished, copy.damaged) == (broken.counts, True, 0)
        fixed.unlink()
    assert expected == CHUNKS * PER_CHUNK


def test_unchunked_messages_cut_at_every_byte(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mcap", tmp_path / "cut.mcap"
    ends = []
    with whole.open("wb") as stream:
        writer = importlib.import_module("mcap.writer").Writer(stream, use_chunking=False)
        writer.start()
        channel = writer.register_channel("/a", "json", 0)
        for number in range(5):
            writer.add_message(channel, number, b"%08d" % number, number)
            ends.append(stream.tell())
        writer.finish()
    data = whole.read_bytes()
    for length in range(len(MAGIC), len(data) + 1):
        cut.write_bytes(data[:length])
        contents = read_contents(cut)
        assert contents.counts.total() == sum(end <= length for end in ends), length


def test_the_library_reads_what_was_recovered(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mcap", tmp_path / "cut.mcap"
    ends = write_small(whole)
    for number, (end, count) in enumerate(ends):
        fixed = tmp_path / f"{number}.mcap"
        cut.write_bytes(whole.read_bytes()[: end + 5])
        recover(cut, fixed)
        messages = [message.data for _, _, message in read_by_index(fixed)]
        assert messages == [b"data %d" % number for number in range(count)]


def test_a_flipped_bit_anywhere_costs_no_more_than_its_chunk(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.mcap", tmp_path / "broken.mcap"
    ends = write_small(whole)
    data = whole.read_bytes()
    body = range(len(MAGIC), ends[-1][0])
    lost = []
    for at, bit in itertools.product(body, (0, 7)):
        broken.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        lost.append(CHUNKS * PER_CHUNK - read_contents(broken).counts.total())
    assert min(lost) == 0
    # Most damages are in the content of a chunk.
    assert sorted(lost)[len(lost) // 2] <= PER_CHUNK


@pytest.mark.parametrize("number", range(CHUNKS))
def test_a_damaged_chunk_is_left_out_and_counted(tmp_path: Path, number: int) -> None:
    """The first one has the definitions; the index has them too."""
    file = tmp_path / "run.mcap"
    ends = write_small(file)
    data = bytearray(file.read_bytes())
    data[ends[number][0] - 20] ^= 0xFF
    file.write_bytes(data)
    contents = recover(file, tmp_path / "fixed.mcap")
    assert (contents.damaged, contents.unknown, contents.is_finished) == (1, 0, True)
    assert contents.counts.total() == (CHUNKS - 1) * PER_CHUNK
    assert len(read_by_index(tmp_path / "fixed.mcap")) == contents.counts.total()


@pytest.mark.parametrize("place", [0, 8, 20, 1 << 62, (1 << 64) - 1])
def test_an_index_may_be_said_to_be_anywhere(tmp_path: Path, place: int) -> None:
    file = tmp_path / "run.mcap"
    write_small(file)
    data = file.read_bytes()
    at = len(data) - len(MAGIC) - 20
    file.write_bytes(data[:at] + struct.pack("<Q", place) + data[at + 8 :])
    assert read_contents(file).counts.total() == CHUNKS * PER_CHUNK


@pytest.mark.parametrize("kept", [0, 5])
def test_a_tail_of_zeros_is_cut(tmp_path: Path, kept: int) -> None:
    file = tmp_path / "run.mcap"
    end, count = write_small(file)[2]
    tail = kept + (16 << 20)
    file.write_bytes(file.read_bytes()[: end + kept] + bytes(tail - kept))
    contents = read_contents(file)
    assert (contents.counts.total(), contents.is_finished) == (count, False)
    # With its zeros, the begin of the record that was cut may be a whole one.
    assert tail - 100 < contents.cut_bytes <= tail


def test_a_random_tail_takes_nothing_with_it(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    end, count = write_small(file)[2]
    whole = file.read_bytes()[:end]
    source = random.Random(7)
    for _ in range(300):
        file.write_bytes(whole + source.randbytes(source.randrange(1, 400)))
        contents = read_contents(file)
        assert (contents.counts.total(), contents.is_finished) == (count, False)


def test_random_damage_is_no_error(tmp_path: Path) -> None:
    file, fixed = tmp_path / "run.mcap", tmp_path / "fixed.mcap"
    write_small(file)
    whole = file.read_bytes()
    source = random.Random(8)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(source.randrange(1, 20)):
            data[source.randrange(len(MAGIC), len(data))] = source.randrange(256)
        file.write_bytes(data)
        found = recover(file, fixed).counts.total()
        assert len(read_in_order(fixed)) == found <= CHUNKS * PER_CHUNK
        fixed.unlink()


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def chunk(data: bytes, size: int, compression: str = "", crc: int = 0) -> bytes:
    name = compression.encode()
    head = struct.pack("<QQQII", 0, 0, size, crc, len(name)) + name
    return record(CHUNK, head + struct.pack("<Q", len(data)) + data)


@pytest.mark.parametrize(
    "hostile",
    [
        chunk(struct.pack("<BQ", MESSAGE, 1 << 60), 9),
        chunk(bytes(100), 100),
        chunk(b"", 1 << 62),
        chunk(b"not lz4", 100, "lz4"),
        chunk(b"not zstd", 100, "zstd"),
        chunk(b"abc", 3, "brotli"),
        chunk(record(MESSAGE, struct.pack("<HIQQ", 1, 0, 1, 1)), 31, crc=1),
    ],
)
def test_hostile_chunks_are_left_out(tmp_path: Path, hostile: bytes) -> None:
    file = tmp_path / "run.mcap"
    write_small(file)
    data = file.read_bytes()
    head = len(MAGIC) + 9 + struct.unpack_from("<Q", data, len(MAGIC) + 1)[0]
    file.write_bytes(data[:head] + hostile + data[head:])
    contents = read_contents(file)
    assert (contents.damaged, contents.is_finished) == (1, True)
    assert contents.counts.total() == CHUNKS * PER_CHUNK


@pytest.mark.parametrize(
    "hostile",
    [
        record(CHUNK, b"short"),
        record(CHANNEL, b"\1\0\1\0" + struct.pack("<I", 0xFFFFFFFF)),
        record(CHANNEL, b"\1\0\1\0" + struct.pack("<I", 2) + b"\xff\xff"),
        record(SCHEMA, b""),
        record(MESSAGE, b"\1"),
        record(MESSAGE, bytes(21)),
        record(CHUNK, bytes(28) + struct.pack("<IQ", 0, 1 << 63)),
        struct.pack("<BQ", MESSAGE, 1 << 63),
        struct.pack("<BQ", 200, 1 << 63),
        struct.pack("<BQ", 0, 0),
    ],
)
def test_what_is_no_record_ends_the_file(tmp_path: Path, hostile: bytes) -> None:
    file = tmp_path / "run.mcap"
    end, count = write_small(file)[1]
    file.write_bytes(file.read_bytes()[:end] + hostile)
    contents = read_contents(file)
    assert (contents.counts.total(), contents.is_finished) == (count, False)
    assert contents.cut_bytes == len(hostile)


def test_messages_without_a_channel_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    file.write_bytes(MAGIC + record(MESSAGE, bytes(40)))
    contents = read_contents(file)
    assert (contents.unknown, contents.counts.total(), contents.cut_bytes) == (1, 0, 0)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("claimed", [1000, 64 << 20])
def test_a_chunk_that_expands_beyond_its_bounds_is_refused(
    tmp_path: Path, compression: str, claimed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcap_scan, "MAX_RECORD_BYTES", 8 << 20)
    module = importlib.import_module({"lz4": "lz4.frame", "zstd": "zstandard"}[compression])
    file = tmp_path / "run.mcap"
    file.write_bytes(MAGIC + chunk(module.compress(bytes(64 << 20)), claimed, compression))
    tracemalloc.start()
    try:
        assert read_contents(file).damaged == 1
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, cut, fixed = (tmp_path / name for name in ("whole.mcap", "cut.mcap", "fixed.mcap"))
    ends = write_small(whole)
    cut.write_bytes(whole.read_bytes()[: ends[1][0] + 7])
    assert run(["recording", "info", str(whole)]) == 0
    out = capsys.readouterr().out
    assert "12 messages of 2 topics" in out and "/a  a  6" in out and "recover" not in out
    assert run(["recording", "info", str(cut)]) == 0
    out = capsys.readouterr().out
    assert "not closed; its last 7 bytes are no whole record" in out
    assert f"recording recover {cut}" in out
    assert run(["recording", "recover", str(cut), str(fixed)]) == 0
    assert "6 messages of 2 topics" in capsys.readouterr().out
    assert run(["recording", "recover", str(cut), str(fixed)]) == 1
    assert "it exists" in capsys.readouterr().err
    cut.write_bytes(whole.read_bytes()[:20])
    assert run(["recording", "recover", str(cut), str(tmp_path / "none.mcap"), "--json"]) == 1
    assert '"messages": 0' in capsys.readouterr().out

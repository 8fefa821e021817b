"""Recordings that were cut at any byte, or damaged: what is whole is recovered."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.core.disk import create_file
from edge_inference.errors import ConfigError
from edge_inference.observe.recording import mcap_scan
from edge_inference.observe.recording.mcap_records import MAGIC, McapChunk, RecordKind, pack_record
from edge_inference.observe.recording.mcap_recovery import read_contents, recover
from edge_inference.observe.recording.mcap_writer import McapWriter
from mcap_judges import needs_mcap, read_by_index

CHUNKS, PER_CHUNK = 4, 3


def write_small(file: Path) -> list[tuple[int, int]]:
    """Write a small recording; return where each chunk ends, and how many messages are before."""
    ends = []
    with create_file(file) as stream:
        writer = McapWriter(stream, "ros2")
        channels = [
            writer.add_channel(topic, "cdr", writer.add_schema(topic[1:], "ros2msg", b"int8 a"))
            for topic in ("/a", "/b")
        ]
        for number in range(CHUNKS * PER_CHUNK):
            writer.add_message(channels[number % 2], number + 1, number + 1, b"data %d" % number)
            if number % PER_CHUNK == PER_CHUNK - 1:
                before = writer.size
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


@needs_mcap
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


def test_a_damaged_chunk_is_left_out_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "run.mcap"
    ends = write_small(file)
    data = bytearray(file.read_bytes())
    data[ends[1][0] - 20] ^= 0xFF
    file.write_bytes(data)
    contents = recover(file, tmp_path / "fixed.mcap")
    assert (contents.damaged, contents.is_finished) == (1, True)
    assert contents.counts.total() == (CHUNKS - 1) * PER_CHUNK


def chunk(data: bytes, size: int, compression: str = "", crc: int = 0) -> bytes:
    return McapChunk(0, 0, size, crc, compression, data).pack()


@pytest.mark.parametrize(
    ("record", "damaged"),
    [
        (chunk(b"\5" + struct.pack("<Q", 1 << 60), 9), 1),
        (chunk(b"", 1 << 62), 1),
        (chunk(b"not lz4", 100, "lz4"), 1),
        (chunk(b"abc", 3, "brotli"), 1),
        (chunk(struct.pack("<BQ", 0x7F, 0), 9), 0),
        (chunk(struct.pack("<BQ", 0x7F, 0), 9, crc=1), 1),
        (pack_record(RecordKind.CHUNK, b"short"), 1),
        (pack_record(RecordKind.CHANNEL, b"\1\0\1\0" + struct.pack("<I", 0xFFFFFFFF)), 1),
        (pack_record(RecordKind.SCHEMA, b""), 1),
        (pack_record(RecordKind.MESSAGE, b"\1"), 1),
        (pack_record(RecordKind.MESSAGE, bytes(40)), 0),
        (struct.pack("<BQ", 5, 1 << 63), 0),
        (struct.pack("<BQ", 0, 0), 0),
    ],
)
def test_hostile_records(tmp_path: Path, record: bytes, damaged: int) -> None:
    file = tmp_path / "run.mcap"
    file.write_bytes(MAGIC + pack_record(RecordKind.HEADER, bytes(8)) + record)
    contents = read_contents(file)
    assert (contents.damaged, contents.counts.total()) == (damaged, 0)


def test_a_chunk_that_expands_beyond_its_size_is_refused(tmp_path: Path) -> None:
    lz4 = pytest.importorskip("lz4.frame", reason="the package lz4 is not installed")
    file = tmp_path / "run.mcap"
    bomb = lz4.compress(bytes(64 << 20))
    file.write_bytes(MAGIC + chunk(bomb, 1000, "lz4"))
    assert read_contents(file).damaged == 1


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mcap_scan._MODULES, "zstd", "no_such_zstd.frame")
    file = tmp_path / "run.mcap"
    file.write_bytes(MAGIC + chunk(b"abc", 3, "zstd"))
    with pytest.raises(ConfigError, match="no_such_zstd is not installed; pip install"):
        recover(file, tmp_path / "fixed.mcap")
    assert not (tmp_path / "fixed.mcap").exists()


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

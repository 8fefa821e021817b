"""Replay of recordings by time, and errors for damaged ones."""

from __future__ import annotations

import errno
import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import InputError
from edge_inference.platforms.recording.recording import (
    FORMAT,
    FileContent,
    RecordedSample,
    UnreadableFile,
    format_header,
    format_sample,
    read_recording,
)
from edge_inference.platforms.recording.replay import RecordedFiles
from recording_bench import HEAD, ManualTime, read_or_errno, write_recording


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


def test_blocked_read_returns_later_in_the_recording(tmp_path: Path) -> None:
    file = write_recording(
        tmp_path / "r.jsonl", (0, {"a": UnreadableFile(None)}), (1, {"a": b"1"}), (2, {"a": None})
    )
    moments = iter([0, 0, 0, 1_000_000_000])
    assert RecordedFiles(file, clock=lambda: next(moments)).read("a") == b"1"


def test_playback_follows_the_clock(tmp_path: Path, time: ManualTime) -> None:
    file = write_recording(
        tmp_path / "r.jsonl",
        (0, {"d/a": b"0", "d/b": b"0"}),
        (1, {"d/a": UnreadableFile(errno.EAGAIN)}),
        (2, {"d/a": b"2", "d/b": None}),
    )
    files = RecordedFiles(file, clock=time.clock)
    seen = []
    for _ in range(6):
        seen.append((read_or_errno(files, "d/a"), files.list("d"), files.has_ended))
        time.wait(0.5)
    eagain = errno.EAGAIN
    assert seen == [
        (b"0", ["a", "b"], False),
        (b"0", ["a", "b"], False),
        (eagain, ["a", "b"], False),
        (eagain, ["a", "b"], False),
        (b"2", ["a"], True),
        (b"2", ["a"], True),
    ]


@pytest.mark.parametrize(
    ("speed", "loop", "expected"),
    [
        (1, False, [0, 0, 1, 2, 2, 2, 2]),
        (2, False, [0, 1, 2, 2, 2, 2, 2]),
        (0.5, False, [0, 0, 0, 0, 1, 1, 2]),
        (1, True, [0, 0, 1, 0, 0, 1, 0]),
        (2, True, [0, 1, 0, 0, 1, 0, 0]),
    ],
)
def test_speed_and_loop(
    speed: float, loop: bool, expected: list[int], tmp_path: Path, time: ManualTime
) -> None:
    samples = [(float(t), {"a": str(t).encode()}) for t in (0, 1)]
    file = write_recording(tmp_path / "r.jsonl", *samples, (1.5, {"a": b"2"}))
    files = RecordedFiles(file, clock=time.clock, speed=speed, loop=loop)
    seen = []
    for _ in expected:
        seen.append(int(files.read("a")))
        time.wait(0.5)
    assert seen == expected
    assert files.has_ended is not loop


def test_single_sample_stays(tmp_path: Path, time: ManualTime) -> None:
    files = RecordedFiles(
        write_recording(tmp_path / "r.jsonl", (0, {"a": b"1"})), time.clock, loop=True
    )
    time.wait(1000)
    assert files.read("a") == b"1"
    assert files.has_ended


def test_clock_that_goes_back(tmp_path: Path, time: ManualTime) -> None:
    file = write_recording(tmp_path / "r.jsonl", (0, {"a": b"0"}), (1, {"a": b"1"}))
    files = RecordedFiles(file, time.clock)
    time.wait(-3600)
    assert files.read("a") == b"0"


SOUND = [format_header(HEAD), '{"t": 0, "files": {"a": {"text": "1"}}}', '{"t": 1, "files": {}}']


@pytest.mark.parametrize(
    ("number", "line", "words"),
    [
        (1, "", "line 1: expected JSON"),
        (1, "[]", "line 1: expected a JSON object, got list"),
        (1, "{}", "line 1: expected a recording in format"),
        (1, json.dumps({"format": "edge-inference-platform/2"}), "got 'edge-inference-platform/2'"),
        (1, json.dumps({"format": FORMAT, "board": 3}), "line 1: expected board to be a str"),
        (2, '{"t": 0}', "line 2: expected files"),
        (2, '{"t": 0.5, "files": {}}', "line 2: expected the first sample at t = 0"),
        (2, '{"t": NaN, "files": {}}', "line 2: expected JSON"),
        (2, '{"t": 0, "files": {"a": "1"}}', "line 2, 'a': expected null or one of text"),
        (2, '{"t": 0, "files": {"a\\nb": 1}}', "line 2, 'a\\nb': expected"),
        (2, '{"t": 0, "files": {"a": {"errno": 99999999999999999999}}}', "line 2, 'a': expected"),
        (2, '{"t": 0, "files": {"a": {"errno": "EWHAT"}}}', "line 2, 'a': expected null or one of"),
        (2, '{"t": 0, "files": {"a": {"base64": "?"}}}', "line 2, 'a': expected base64"),
        (2, '{"t": 0, "files": {"a": {"text": "1", "errno": "EIO"}}}', "line 2, 'a': expected"),
        (
            1,
            format_header(HEAD)[:-1] + ', "unit": "K"}',
            "line 1: expected format, board",
        ),
        (2, '{"t": true, "files": {}}', "line 2: expected t"),
        (2, '{"t": 0, "files": {"a": {"errno": true}}}', "line 2, 'a': expected null or one of"),
        (2, '{"t": 0, "files": {"a": {"errno": -5}}}', "line 2, 'a': expected null or one of"),
        (2, '{"t": 0, "files": {"a": {"blocks": false}}}', "line 2, 'a': expected null or one of"),
        (3, '{"t": 1, "files": {}, "gone": ["a"]}', "line 3: expected t, files, got also 'gone'"),
        (3, '{"t": -1, "files": {}}', "line 3: expected t"),
        (3, '{"t": 1e999, "files": {}}', "line 3: expected t"),
        (3, '{"t": 1, "files": {"a": {"te', "line 3: expected JSON (the file is truncated"),
        (3, "[" * 100_000, "line 3: expected JSON"),
    ],
)
def test_invalid_line_error_names_the_line(
    number: int, line: str, words: str, tmp_path: Path
) -> None:
    lines = [*SOUND]
    lines[number - 1] = line
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join(lines) + ("\n" if number < 3 else ""))
    with pytest.raises(InputError) as refusal:
        RecordedFiles(file)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_sample_times_must_be_sorted(tmp_path: Path) -> None:
    file = write_recording(tmp_path / "r.jsonl", (0, {}), (2, {}), (1, {}))
    with pytest.raises(InputError, match="line 4: t goes back from 2 to 1"):
        RecordedFiles(file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "got an empty file"),
        (SOUND[0].encode() + b"\n", "expected samples"),
        (b"\xff\xfe\x00", "line 1: expected UTF-8"),
    ],
)
def test_files_that_are_not_recordings(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words):
        RecordedFiles(file)


def test_missing_and_damaged_compressed_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read"):
        RecordedFiles(tmp_path / "none.jsonl")
    packed = gzip.compress(("\n".join(SOUND) + "\n").encode())
    file = tmp_path / "r.jsonl.gz"
    for content in (b"no gzip", packed[:-12], packed[:20] + b"\0" * 20, packed[:3]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"line \d+: cannot be decompressed"):
            RecordedFiles(file)
    file.write_bytes(packed)
    assert RecordedFiles(file).read("a") == b"1"


contents = st.one_of(
    st.binary(max_size=40), st.sampled_from([11, 13, 19, None]).map(UnreadableFile), st.none()
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), contents))
def test_any_content_survives_writing(files: dict[str, FileContent | None]) -> None:
    line = format_sample(RecordedSample(0.0, files))
    assert "\n" not in line
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(f"{format_header(HEAD)}\n{line}\n")
        file.flush()
        (sample,) = read_recording(Path(file.name)).samples
    assert sample.files == files


@given(
    st.integers(0, 200),
    st.integers(0, 30),
    st.binary(max_size=12),
    st.sampled_from(["r.jsonl", "r.jsonl.gz"]),
)
def test_any_damage_is_an_input_error(at: int, length: int, patch: bytes, name: str) -> None:
    content = ("\n".join(SOUND) + "\n").encode()
    content = gzip.compress(content, mtime=0) if name.endswith(".gz") else content
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content[:at] + patch + content[at + length :])
        try:
            read_recording(file)
        except InputError as refusal:
            assert str(refusal).startswith(str(file))
            assert "\n" not in str(refusal)

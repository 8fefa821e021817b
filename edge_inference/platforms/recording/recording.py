r"""The format of recordings: JSON lines, compressed if the file name ends in .gz.

::

    {"format": "edge-inference-platform/1", "board": …, "kernel": …, "note": …, "synthetic": …}
    {"t": 0, "files": {"sys/class/thermal/thermal_zone0/temp": {"text": "45000\n"}, …}}
    {"t": 0.5, "files": {"sys/class/thermal/thermal_zone0/temp": {"errno": "EAGAIN"}}}
    {"t": 1.0, "files": {}}

The first sample holds every file, each later one only the changes; null stands for a file that
no longer exists. Content that is not UTF-8 is stored as ``base64``, and a file whose read blocks
as ``{"blocks": true}``. The time of the last line is the length of the recording.
"""

from __future__ import annotations

import base64
import binascii
import errno
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, TypeAlias

from edge_inference.core.bounded_file import open_regular_file, parse_json
from edge_inference.errors import InputError

FORMAT = "edge-inference-platform/1"
_PACKED = ".gz"
# Linux errno numbers are below this.
_MAX_ERRNO = 4096
# Days of a machine with many sensors. Counted uncompressed: a small file may expand to any size.
_MAX_FILE_BYTES = 128 << 20
_MAX_LINE_BYTES = 4 << 20
# Text compresses to about a tenth; a larger file consists of many empty gzip members.
_MAX_PACKED_BYTES = 16 << 20
_GZIP_OVERHEAD_BYTES = 1 << 10
# One day with two samples a second, and the number of changes that fit into the largest file.
_MAX_SAMPLES = 200_000
_MAX_CHANGES = 2_000_000
_ERRNOS = {name: number for number, name in errno.errorcode.items()}


@dataclass(frozen=True)
class UnreadableFile:
    """A file that cannot be read: the kernel's errno, or None if the read does not return."""

    errno: int | None


#: The content of a file, or the reason why it cannot be read.
FileContent: TypeAlias = bytes | UnreadableFile
#: Changed contents by file; None for a file that no longer exists.
FileChanges: TypeAlias = Mapping[str, FileContent | None]


@dataclass(frozen=True)
class RecordingHeader:
    """The origin of a recording. ``synthetic`` recordings are written by hand, not captured."""

    board: str = ""
    kernel: str = ""
    note: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class RecordedSample:
    """The changes at one time, in seconds from the start."""

    time_s: float
    files: FileChanges


@dataclass(frozen=True)
class Recording:
    """A whole recording; ``samples`` start at 0 s with every file and are sorted by time."""

    header: RecordingHeader
    samples: tuple[RecordedSample, ...]

    @property
    def duration_s(self) -> float:
        """The time of the last sample."""
        return self.samples[-1].time_s


class RecordingLimits:
    """The limits of the format, so that no recording is written that cannot be read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._samples = self._changes = 0
        self._left = _MAX_FILE_BYTES

    def add_if_fits(self, line: str, changes: int | None = None) -> bool:
        """Tell whether a line fits, and count it if so; ``changes`` are those of a sample."""
        length = len(line) + 1
        fits = length <= _MAX_LINE_BYTES and length <= self._left
        if changes is not None:
            fits &= self._samples < _MAX_SAMPLES and self._changes + changes <= _MAX_CHANGES
        if self._file.name.endswith(_PACKED):
            # Text that does not compress grows a little.
            fits &= self._file.stat().st_size + length + _GZIP_OVERHEAD_BYTES <= _MAX_PACKED_BYTES
        if fits and changes is not None:
            self._samples += 1
            self._changes += changes
        self._left -= length
        return fits

    @staticmethod
    def describe() -> str:
        """Describe the limits."""
        return (
            f"a recording holds at most {_MAX_SAMPLES} samples, {_MAX_CHANGES} changes and "
            f"{_MAX_FILE_BYTES >> 20} MiB, or {_MAX_PACKED_BYTES >> 20} MiB compressed"
        )


def open_for_writing(file: Path) -> IO[str]:
    """Create a new file; raises OSError if it exists or cannot be created."""
    if file.name.endswith(_PACKED):
        return gzip.open(file, "xt", encoding="ascii")
    return file.open("x", encoding="ascii")


def format_header(header: RecordingHeader) -> str:
    """Return the first line, without a newline."""
    return json.dumps({"format": FORMAT, **asdict(header)})


def format_sample(sample: RecordedSample) -> str:
    """Return the line of a sample, without a newline."""
    files = {path: _encode_content(content) for path, content in sample.files.items()}
    values = {"t": round(sample.time_s, 3), "files": files}
    return json.dumps(values, separators=(",", ":"))


def read_recording(file: Path) -> Recording:
    """Read a recording. Raises InputError with the number of the invalid line."""
    lines = _lines(file)
    try:
        number, first = next(lines)
    except StopIteration:
        raise InputError(f"{file}: expected a platform recording, got an empty file") from None
    header = _parse_header(first, f"{file}, line {number}")
    samples: list[RecordedSample] = []
    changes = 0
    for number, line in lines:
        where = f"{file}, line {number}"
        sample = _parse_sample(line, where)
        changes += len(sample.files)
        if len(samples) == _MAX_SAMPLES or changes > _MAX_CHANGES:
            raise InputError(
                f"{where}: expected at most {_MAX_SAMPLES} samples with {_MAX_CHANGES} changes; "
                "record a shorter time"
            )
        if not samples and sample.time_s != 0:
            raise InputError(f"{where}: expected the first sample at t = 0, got {sample.time_s:g}")
        if samples and sample.time_s < samples[-1].time_s:
            raise InputError(
                f"{where}: t goes back from {samples[-1].time_s:g} to {sample.time_s:g}; "
                "expected lines sorted by time"
            )
        samples.append(sample)
    if not samples:
        raise InputError(f"{file}: expected samples after the first line, got none")
    return Recording(header, tuple(samples))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        is_packed = file.name.endswith(_PACKED)
        with open_regular_file(file, _MAX_PACKED_BYTES if is_packed else _MAX_FILE_BYTES) as packed:
            stream = gzip.GzipFile(fileobj=packed) if is_packed else packed
            left = _MAX_FILE_BYTES
            while line := stream.readline(_MAX_LINE_BYTES + 1):
                number += 1
                left -= len(line)
                if len(line) > _MAX_LINE_BYTES or left < 0:
                    raise InputError(
                        f"{file}, line {number}: expected lines of at most {_MAX_LINE_BYTES} "
                        f"bytes, and {_MAX_FILE_BYTES} in all, uncompressed; record a shorter time"
                    )
                yield number, _decode_line(line, f"{file}, line {number}")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{file}, line {number + 1}: cannot be decompressed, the file is damaged or truncated "
            f"({error}); record it again"
        ) from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from error


def _decode_line(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8-sig")  # the first may have a byte order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: expected UTF-8 ({error.reason}); record it again") from error


def _parse_header(line: str, where: str) -> RecordingHeader:
    values = _parse_object(line, where)
    if values.get("format") != FORMAT:
        raise InputError(
            f"{where}: expected a recording in format {FORMAT!r}, got {values.get('format')!r}; "
            "read it with the version that wrote it, or record it again"
        )
    known = {field.name: type(field.default) for field in fields(RecordingHeader)}
    _require_known(values, ("format", *known), where)
    for name, kind in known.items():
        if not isinstance(values.get(name), kind):
            raise InputError(
                f"{where}: expected {name} to be a {kind.__name__}, got {values.get(name)!r}"
            )
    return RecordingHeader(**{name: values[name] for name in known})


def _parse_sample(line: str, where: str) -> RecordedSample:
    values = _parse_object(line, where)
    _require_known(values, ("t", "files"), where)
    time_s, files = values.get("t"), values.get("files")
    if (
        isinstance(time_s, bool)
        or not isinstance(time_s, int | float)
        or not 0 <= time_s < math.inf
    ):
        raise InputError(f"{where}: expected t to be seconds from 0 on, got {time_s!r}")
    if not isinstance(files, dict):
        raise InputError(f"{where}: expected files to be an object, got {files!r}")
    contents = {path: _decode_content(entry, f"{where}, {path!r}") for path, entry in files.items()}
    return RecordedSample(float(time_s), contents)


def _require_known(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise InputError for a key that this version does not know, because it may be essential."""
    for name in values:
        if name not in known:
            raise InputError(
                f"{where}: expected {', '.join(known)}, got also {name!r}; read it with the "
                "version that wrote it, or record it again"
            )


def _parse_object(line: str, where: str) -> dict[str, Any]:
    try:
        values = parse_json(line)
    except ValueError as error:
        reason = "" if line.endswith("\n") else " (the file is truncated here)"
        raise InputError(
            f"{where}: expected JSON{reason}; remove the line, or record it again"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected a JSON object, got {type(values).__name__}")
    return values


def _encode_content(content: FileContent | None) -> dict[str, Any] | None:
    if content is None:
        return None
    if isinstance(content, UnreadableFile):
        if content.errno is None:
            return {"blocks": True}
        return {"errno": errno.errorcode.get(content.errno, content.errno)}
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _decode_content(entry: Any, where: str) -> FileContent | None:
    match entry:
        case None:
            return None
        case {"text": str(text), **rest} if not rest:
            return text.encode()
        case {"base64": str(text), **rest} if not rest:
            return _decode_base64(text, where)
        case {"errno": str(name), **rest} if not rest and name in _ERRNOS:
            return UnreadableFile(_ERRNOS[name])
        case {"errno": int(number), **rest} if (
            not rest and 0 < number < _MAX_ERRNO and number is not True
        ):
            return UnreadableFile(number)
        case {"blocks": True, **rest} if not rest:
            return UnreadableFile(None)
    raise InputError(
        f"{where}: expected null or one of text, base64, errno and blocks, got {entry!r:.80}"
    )


def _decode_base64(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InputError(f"{where}: expected base64 ({error}); record it again") from error

"""Reads an MCAP file from its beginning, also one that was never finished or is damaged."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edge_inference.core.bounded_file import ANY_SIZE, open_regular_file
from edge_inference.errors import ConfigError, InputError
from edge_inference.observe.recording.mcap_library import check_mcap

if TYPE_CHECKING:
    from mcap.records import Channel, Chunk, McapRecord, Message, Schema

#: The largest record, and the largest chunk after decompression, that is read.
MAX_RECORD_BYTES = 256 << 20
MAGIC = b"\x89MCAP0\r\n"
_FOOTER_BYTES = 29


class McapScan:
    """One pass through an MCAP file; the figures are those of what was read so far.

    Raises ConfigError for a file that cannot be read, or is no MCAP file, and where the mcap
    library is missing.
    """

    def __init__(self, file: Path) -> None:
        check_mcap()
        self.file = file
        self.profile = ""
        #: Bytes of the file.
        self.size = 0
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        #: Whether the file was finished: its index follows its messages.
        self.is_finished = False
        #: Bytes at the end that are no whole record.
        self.cut_bytes = 0
        #: Chunks whose content is wrong.
        self.damaged = 0
        #: Messages of channels that the file does not describe.
        self.unknown = 0
        #: Attachments and metadata, which are left out.
        self.others = 0

    def messages(self) -> Iterator[tuple[Channel, Message]]:
        """Yield every whole message with its channel, in the order of the file."""
        from mcap.records import Attachment, Message, Metadata

        try:
            with open_regular_file(self.file, ANY_SIZE) as stream:
                for record in self._records(stream):
                    if isinstance(record, (Attachment, Metadata)):
                        self.others += 1
                    elif not isinstance(record, Message):
                        self._define(record)
                    elif record.channel_id in self.channels:
                        yield self.channels[record.channel_id], record
                    else:
                        self.unknown += 1
        except OSError as error:
            raise ConfigError(f"{self.file}: cannot be read: {error.strerror}") from error

    def _records(self, stream: IO[bytes]) -> Iterator[McapRecord]:
        """Yield every whole record, also those in chunks."""
        from mcap.records import Chunk, Footer

        if stream.read(len(MAGIC)) != MAGIC:
            raise ConfigError(f"{self.file}: expected an MCAP file, got another one, or none")
        self._read_index(stream)
        record = None
        for record in _read_records(stream):
            if isinstance(record, Chunk):
                yield from self._open_chunk(record)
            else:
                yield record
        end = stream.tell()
        self.size = os.fstat(stream.fileno()).st_size
        is_last = isinstance(record, Footer) and self.size == end + len(MAGIC)
        self.is_finished = is_last and stream.read() == MAGIC
        self.cut_bytes = 0 if self.is_finished else self.size - end

    def _read_index(self, stream: IO[bytes]) -> None:
        """Take the definitions from the index, if there is one: their chunk may be damaged."""
        from mcap.records import Footer

        begin = stream.tell()
        with suppress(OSError):  # the file is too small
            stream.seek(-_FOOTER_BYTES - len(MAGIC), os.SEEK_END)
            footer = next(_read_records(stream), None)
            if isinstance(footer, Footer) and 0 < footer.summary_start < stream.tell():
                stream.seek(footer.summary_start)
                for record in _read_records(stream):
                    self._define(record)
        stream.seek(begin)

    def _define(self, record: McapRecord) -> None:
        """Keep what says how to read messages."""
        from mcap.records import Channel, Header, Schema

        if isinstance(record, Header):
            self.profile = record.profile
        elif isinstance(record, Schema):
            self.schemas[record.id] = record
        elif isinstance(record, Channel):
            self.channels[record.id] = record

    def _open_chunk(self, chunk: Chunk) -> Iterator[McapRecord]:
        """Yield the records of a chunk; none, and count it, if it is damaged."""
        try:
            stream = BytesIO(_decompress(chunk))
        except InputError:
            self.damaged += 1
            return
        yield from _read_records(stream)
        if stream.read(1):
            self.damaged += 1


class _BoundedReads:
    """Gives the library what it asks for, or nothing: lengths in a damaged file may be any."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, length: int) -> bytes:
        data = self._stream.read(length) if 0 <= length <= MAX_RECORD_BYTES else b""
        return data if len(data) == length else b""


def _read_records(stream: IO[bytes]) -> Iterator[McapRecord]:
    """Yield whole records, chunks as they are; then the stream is where the last of them ends."""
    from mcap.exceptions import McapError
    from mcap.stream_reader import StreamReader

    # It would decompress a chunk to any size, and end at a damaged one.
    reader = StreamReader(
        _BoundedReads(stream), skip_magic=True, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES
    )
    records = iter(reader.records)
    end = stream.tell()
    with suppress(McapError, UnicodeDecodeError, StopIteration):
        # No record begins with 0. After a loss of power the end of a file may be zeros, which the
        # library skips slowly.
        while stream.read(1) != b"\0":
            stream.seek(end)
            record = next(records)
            end = stream.tell()
            yield record
    stream.seek(end)


def _decompress(chunk: Chunk) -> bytes:
    """Return the records of a chunk; raises InputError where they are damaged.

    The library's own function has no bound for what the data expands to.
    """
    import lz4.frame
    import zstandard

    size = chunk.uncompressed_size
    if size > MAX_RECORD_BYTES:
        raise InputError(f"chunk: expected at most {MAX_RECORD_BYTES} bytes, got {size}")
    try:
        match chunk.compression:
            case "lz4":
                data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size)
            case "zstd":
                data = zstandard.ZstdDecompressor().stream_reader(chunk.data).read(size)
            case "":
                data = chunk.data
            case other:
                raise InputError(f"chunk: no known compression: {other!r:.40}")
    except (RuntimeError, EOFError, zstandard.ZstdError) as error:
        raise InputError(f"chunk: cannot be decompressed: {error}") from error
    if len(data) != size or chunk.uncompressed_crc not in (0, zlib.crc32(data)):
        raise InputError("chunk: its size or checksum is wrong")
    return bytes(data)

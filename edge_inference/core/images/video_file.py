"""Recognizes video files by their first bytes, so that video readers get no other files.

A playlist is a text file with the names of other files or network addresses. Its reader opens
all of them without checks, and blocks forever on a pipe.
"""

from __future__ import annotations

from pathlib import Path

from edge_inference.core.bounded_file import ANY_SIZE, open_regular_file

#: FFmpeg's names of the accepted containers.
CONTAINERS = "mov,avi,matroska,ogg,flv,mpegts,mpeg,mpegvideo,asf,yuv4mpegpipe"

_HEAD_BYTES = 4096
_TS_PACKETS = ((0, 188), (4, 192))  # offset of the first packet, and packet length in bytes
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_MAGICS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"OggS\0",
    b"FLV\x01",
    b"\0\0\x01\xba",  # MPEG program stream
    b"\0\0\x01\xb3",  # MPEG video
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"YUV4MPEG2 ",
)


def is_video(file: Path) -> bool:
    """Tell whether a file begins like a video. Raises OSError where it is not a regular file."""
    with open_regular_file(file, ANY_SIZE) as stream:
        head = stream.read(_HEAD_BYTES)
    # Readers recognize some playlists by words inside their text.
    text = head.split(b"\0", 1)[0].lower()
    return _has_magic(head) and not any(word in text for word in (b"<mpd", b"c=in ip"))


def _has_magic(head: bytes) -> bool:
    return (
        head.startswith(_MAGICS)
        or head[4:8] in _ISO_BOXES
        or (head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"))
        or any(head[first : first + 3 * step : step] == b"GGG" for first, step in _TS_PACKETS)
    )

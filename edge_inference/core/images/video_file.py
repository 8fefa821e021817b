"""What a video file begins with, so that nothing else is given to the readers of videos.

A playlist is a text that names other files, or addresses of a network: its reader opens them all,
unchecked, and waits for a pipe among them for ever.
"""

from __future__ import annotations

from pathlib import Path

from edge_inference.core.bounded_file import open_regular_file

#: What FFmpeg calls the containers that are read.
CONTAINERS = "mov,avi,matroska,ogg,flv,mpegts,mpeg,mpegvideo,asf,yuv4mpegpipe"

_LARGEST_VIDEO = 1 << 62
_HEAD_BYTES = 4096
_TS_PACKETS = ((0, 188), (4, 192))  # where the first begins, and their length in bytes
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
    """Tell whether a file begins as a video does. Raises OSError for what is no plain file."""
    with open_regular_file(file, _LARGEST_VIDEO) as stream:
        head = stream.read(_HEAD_BYTES)
    # Some playlists are known by words in their midst, as far as the text goes.
    text = head.split(b"\0", 1)[0].lower()
    return _has_magic(head) and not any(word in text for word in (b"<mpd", b"c=in ip"))


def _has_magic(head: bytes) -> bool:
    return (
        head.startswith(_MAGICS)
        or head[4:8] in _ISO_BOXES
        or (head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX"))
        or any(head[first : first + 3 * step : step] == b"GGG" for first, step in _TS_PACKETS)
    )

"""The cost of an image is read from its header, before a decoder reads it."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.images.encodings import to_bgr
from edge_inference.core.images.frame import CompressedFrame
from edge_inference.core.images.image_file import read_image
from edge_inference.core.images.image_formats import read_file_header
from edge_inference.core.images.image_header import MAX_SIDE, ImageBounds, read_header
from edge_inference.core.images.media import IMAGE_SUFFIXES, ImageFiles, open_media
from edge_inference.errors import ImageError, SourceError
from encoded_images import (
    chunk,
    jpeg,
    part,
    png,
    png_header,
    real_jpeg,
    small_png,
    start_of_frame,
    start_of_scan,
)

IDAT, IEND = chunk(b"IDAT", bytes(20)), chunk(b"IEND")
APP0 = part(0xE0, b"JFIF\0" + bytes(9))


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        pytest.fail("the decoder was called")

    monkeypatch.setattr(cv2, "imdecode", decode)


def frame(data: bytes, bounds: ImageBounds | None = None) -> CompressedFrame:
    return CompressedFrame(np.frombuffer(data, np.uint8), "some", bounds=bounds or ImageBounds())


REFUSED = {
    # PNG
    "length beyond the end": (png(png_header(8, 8), chunk(b"IDAT", bytes(9), 0xFFFFFFF0)), "IDAT"),
    "length just beyond": (png(png_header(8, 8), chunk(b"IDAT", bytes(9), 14)), "end of the PNG"),
    "long text": (png(png_header(8, 8), chunk(b"tEXt", b"", 1 << 31), IDAT, IEND), "tEXt"),
    "no header": (png(IDAT, IEND), "header is incomplete"),
    "long header": (png(chunk(b"IHDR", bytes(14)), IDAT, IEND), "header is incomplete"),
    "second header": (png(png_header(8, 8), png_header(9, 9), IDAT, IEND), "wrong place"),
    "no pixels": (png(png_header(8, 8), IEND), "no pixels"),
    "no end": (png(png_header(8, 8), IDAT), "end of the PNG is missing"),
    "no name": (png(png_header(8, 8), chunk(b"ID\0T"), IDAT, IEND), "invalid or in a wrong place"),
    "depth 3": (png(png_header(8, 8, depth=3), IDAT, IEND), "depth 3"),
    "palette of 16 bits": (png(png_header(8, 8, 16, 3), IDAT, IEND), "not a valid combination"),
    "color type 5": (png(png_header(8, 8, 8, 5), IDAT, IEND), "color type 5"),
    "other compression": (png(png_header(8, 8, methods=(1, 0, 0)), IDAT, IEND), "methods"),
    "other interlace": (png(png_header(8, 8, methods=(0, 0, 2)), IDAT, IEND), "methods"),
    "animation": (png(png_header(8, 8), chunk(b"acTL", bytes(8)), IDAT, IEND), "animation"),
    "compressed texts": (png(png_header(8, 8), *[chunk(b"zTXt")] * 9, IDAT, IEND), "compressed"),
    "chunks": (png(png_header(8, 8), *[chunk(b"tEXt")] * 65536, IDAT, IEND), "65536 chunks"),
    "16 bits per channel": (png(png_header(16384, 8192, 16, 6), IDAT, IEND), "16384x8192"),
    "16 bits, fewer pixels": (png(png_header(8192, 4096, 16, 6), IDAT, IEND), "bytes of memory"),
    "transparent colours": (
        png(png_header(8000, 8000), chunk(b"tRNS", bytes(6)), IDAT, IEND), "bytes of memory",
    ),
    "a side": (png(png_header(MAX_SIDE + 1, 1), IDAT, IEND), f"{MAX_SIDE + 1}x1"),
    # JPEG
    "size in the frame": (jpeg(APP0, start_of_frame(16000, 16000), start_of_scan()), "16000x16000"),
    "decoy in a thumbnail": (
        jpeg(part(0xE1, start_of_frame(8, 8)), start_of_frame(16000, 16000), start_of_scan()),
        "16000x16000",
    ),
    "decoy behind rubbish": (
        jpeg(APP0, b"\0\0rubbish", start_of_frame(16000, 16000), start_of_scan()), "16000x16000",
    ),
    "fill bytes": (
        jpeg(b"\xff\xff\xff", start_of_frame(16000, 16000), b"\xff\xff", start_of_scan()),
        "16000x16000",
    ),
    "behind markers without a segment": (
        jpeg(b"\xff\x01\xff\xd0", start_of_frame(16000, 16000), start_of_scan()), "16000x16000",
    ),
    "two sizes": (jpeg(start_of_frame(8, 8), start_of_frame(9, 9), start_of_scan()), "twice"),
    "two sizes, two kinds": (
        jpeg(start_of_frame(8, 8), start_of_frame(9, 9, 0xC2), start_of_scan()), "twice",
    ),
    "no size": (jpeg(APP0, start_of_scan()), "header is incomplete"),
    "no scan": (jpeg(start_of_frame(8, 8)), "header is incomplete"),
    "no height": (jpeg(start_of_frame(8, 0), start_of_scan()), "8x0"),
    "second start": (jpeg(b"\xff\xd8", start_of_frame(8, 8), start_of_scan()), "incomplete"),
    "length 1": (jpeg(part(0xE0, b"", 1), start_of_frame(8, 8), start_of_scan()), "part e0"),
    "length beyond": (jpeg(part(0xE0, b"", 9999), start_of_frame(8, 8), start_of_scan()), "e0"),
    "12 bits": (jpeg(start_of_frame(8, 8, 0xC1, 3, 12), start_of_scan()), "12 bits"),
    "2 components": (jpeg(start_of_frame(8, 8, components=2), start_of_scan()), "2 components"),
    "200 components": (jpeg(start_of_frame(8, 8, components=200), start_of_scan()), "200 comp"),
    "lossless": (jpeg(start_of_frame(8, 8, 0xC3), start_of_scan()), "process c3"),
    "arithmetic": (jpeg(start_of_frame(8, 8, 0xC9), start_of_scan()), "process c9"),
    "many scans": (jpeg(start_of_frame(8, 8, 0xC2), *[start_of_scan(1)] * 65), "65 scans"),
    "many sequential scans": (jpeg(start_of_frame(8, 8), *[start_of_scan(1)] * 65), "65 scans"),
    "parts": (jpeg(*[part(0xFE)] * 65536, start_of_frame(8, 8), start_of_scan()), "65536 parts"),
    "buffered for its scans": (
        jpeg(start_of_frame(8000, 8000, 0xC2), start_of_scan()), "bytes of memory",
    ),
    "no end of a scan": (jpeg(start_of_frame(8, 8), start_of_scan())[:-2], "end of the JPEG"),
    "no end of scans": (jpeg(start_of_frame(8, 8, 0xC2), start_of_scan())[:-2], "end of the JPEG"),
    # neither
    "TIFF": (b"II*\0" + bytes(60), "neither JPEG nor PNG"),
    "WebP": (b"RIFF\x40\0\0\0WEBPVP8 " + bytes(60), "neither JPEG nor PNG"),
    "GIF": (b"GIF89a" + bytes(60), "neither JPEG nor PNG"),
    "EXR": (b"\x76\x2f\x31\x01" + bytes(60), "neither JPEG nor PNG"),
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), "neither JPEG nor PNG"),
    "AVIF": (b"\0\0\0\x20ftypavif" + bytes(60), "neither JPEG nor PNG"),
    "HDR": (b"#?RADIANCE\n" + bytes(60), "neither JPEG nor PNG"),
    "PNM": (b"P6 9999 9999 255\n" + bytes(60), "neither JPEG nor PNG"),
    "PFM": (b"PF\n9999 9999\n-1\n" + bytes(60), "neither JPEG nor PNG"),
    "Sun raster": (b"\x59\xa6\x6a\x95" + bytes(60), "neither JPEG nor PNG"),
    "nothing": (b"", "neither JPEG nor PNG"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_image_that_costs_too_much_is_refused_before_decoding(
    case: str, no_decoder: None
) -> None:
    data, reason = REFUSED[case]
    with pytest.raises(ImageError, match=reason) as caught:
        to_bgr(frame(data))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("bounds", "parameter"),
    [
        ({"image_max_encoded_mb": 1}, "image_max_encoded_mb"),
        ({"image_max_pixels": 4096 * 4096 - 1}, "image_max_pixels"),
        ({"image_max_decode_mb": 95}, "image_max_decode_mb"),
    ],
)
def test_every_bound_can_be_set_and_is_named(
    bounds: dict[str, int], parameter: str, no_decoder: None
) -> None:
    data = png(png_header(4096, 4096), chunk(b"IDAT", bytes(1 << 20)), IEND)
    with pytest.raises(ImageError, match=f"raise {parameter}"):
        to_bgr(frame(data, ImageBounds(**bounds)))
    ImageBounds(2, 4096 * 4096, 96).check_header(read_header(data))


def test_a_raw_image_counts_three_times() -> None:
    ImageBounds().check_raw(8192, 8192, 128 << 20)
    with pytest.raises(ImageError, match=f"at most {128 << 20}; .* raise image_max_decode_mb"):
        ImageBounds().check_raw(8192, 8192, (128 << 20) + 1)
    ImageBounds(image_max_decode_mb=576).check_raw(8192, 8192, 192 << 20)


def test_the_limit_of_scans_can_be_set() -> None:
    data = real_jpeg(progressive=True)
    header = read_header(data)
    assert header is not None and header.scans > 5
    with pytest.raises(ImageError, match=f"of {header.scans} scans"):
        to_bgr(frame(data, ImageBounds(image_max_scans=header.scans - 1)))
    assert to_bgr(frame(data)).shape == (48, 64, 3)


def test_metadata_of_cameras_and_tools_is_accepted() -> None:
    extras = (chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"tEXt", b"a\0b"), chunk(b"zTXt"))
    assert to_bgr(frame(small_png(*extras))).shape == (1, 2, 3)
    assert to_bgr(frame(small_png() + bytes(99))).shape == (1, 2, 3)
    plain = real_jpeg()
    thumbnail = part(0xE1, b"Exif\0\0" + real_jpeg(8, 8))
    for data in (
        plain[:2] + thumbnail + plain[2:],
        plain[:2] + b"\xff\xff" + plain[2:],
        plain + bytes(99),
    ):
        assert to_bgr(frame(data)).shape == (48, 64, 3)


# Files of other formats ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_an_image_file_of_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    image = np.full((30, 20, 3), 7, np.uint8)
    assert cv2.imwrite(str(file), image)
    header = read_file_header(file.read_bytes())
    assert (header.width, header.height) == (20, 30)
    assert read_image(file).shape == (30, 20, 3)


def _sized(suffix: str, at: int, size: bytes) -> bytes:
    data = bytearray(cv2.imencode(suffix, np.zeros((30, 20, 3), np.uint8))[1].tobytes())
    data[at : at + len(size)] = size
    return bytes(data)


def _tiff(**sides: int) -> bytes:
    tags = {"width": 256, "height": 257, "tile_width": 322, "tile_height": 323}
    entries = [struct.pack("<HHII", tags[name], 4, 1, side) for name, side in sides.items()]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)


LARGE = 40_000
FILES = {
    "BMP": _sized(".bmp", 18, struct.pack("<ii", LARGE, LARGE)),
    "BMP from the top": _sized(".bmp", 18, struct.pack("<ii", LARGE, -LARGE)),
    "old BMP": b"BM" + bytes(12) + struct.pack("<IHH", 12, LARGE, LARGE) + bytes(99),
    "PNM": b"P6 40000 40000 255\n" + bytes(99),
    "PNM with comments": b"P5\n# 8 8\n40000 # 8\n\t40000\n255\n" + bytes(99),
    "PNM without pixels": b"P1 40000 40000 ",
    "WebP": b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 16383, 16383) + bytes(99),
    "WebP without loss": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\xff\xff\xff\x0f" + bytes(99),
    "WebP with more": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\xff" * 6 + bytes(99),
    "animated WebP": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\2" + bytes(99),
    "TIFF": _tiff(width=LARGE, height=LARGE),
    "TIFF of large tiles": _tiff(width=8, height=8, tile_width=LARGE, tile_height=LARGE),
    "TIFF of nothing": b"II*\0\xff\xff\xff\xff" + bytes(99),
    "BigTIFF": b"II+\0" + bytes(99),
    "GIF": b"GIF89a" + bytes(99),
    "EXR": b"\x76\x2f\x31\x01" + bytes(99),
    "AVIF": b"\0\0\0\x20ftypavif" + bytes(99),
    "HDR": b"#?RADIANCE\n" + bytes(99),
    "PFM": b"PF\n40000 40000\n-1\n" + bytes(99),
    "endless PNG": png(png_header(8, 8), chunk(b"IDAT", bytes(9), 0xFFFFFFF0)),
    "short BMP": b"BM",
    "short WebP": b"RIFF\0\0\0\0WEBPVP8L",
    "nothing": b"",
}


@pytest.mark.parametrize("name", FILES)
def test_an_image_file_that_costs_too_much_is_refused_before_decoding(
    tmp_path: Path, name: str, no_decoder: None
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(FILES[name])
    with pytest.raises(SourceError, match=r"a\.png: not an image that OpenCV can read") as caught:
        ImageFiles([file]).read()
    assert len(str(caught.value)) < 400


class _LargeVideo:
    """A video whose images are too large for the memory."""

    def __init__(self, *_: object) -> None:
        pass

    def isOpened(self) -> bool:
        return True

    def get(self, _: int) -> float:
        return float(LARGE)

    def read(self) -> None:
        pytest.fail("an image was read")

    def release(self) -> None:
        pass


def test_a_video_of_images_that_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", _LargeVideo)
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    with pytest.raises(SourceError, match=r"a\.mp4: images of 40000x40000; expected at most"):
        open_media(str(tmp_path / "a.mp4"))


@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_the_header_has_the_size_of_the_decoded_image(at: int, put: bytes) -> None:
    """Also with any altered bytes: the decoded image has the size that was checked."""
    for data in (real_jpeg(), real_jpeg(progressive=True), small_png()):
        altered = data[: at % len(data)] + put + data[at % len(data) + len(put) :]
        try:
            header = read_header(altered)
        except ImageError:
            continue
        if header is None or header.width * header.height > 1 << 20:
            continue
        decoded = cv2.imdecode(np.frombuffer(altered, np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded is None or decoded.shape[:2] == (header.height, header.width)
        assert decoded is None or 2 * decoded.nbytes <= (
            header.width * header.height * header.bytes_per_pixel
        )

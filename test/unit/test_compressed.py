"""JPEG and PNG files: every depth and channel count, and all the ways to be broken."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.images.encodings import to_bgr, to_color
from edge_inference.core.images.frame import CompressedFrame
from edge_inference.errors import ImageError


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    """A smooth image in which every channel differs, so that swapped ones show."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([40 + 2 * x, 200 - 2 * y, 60 + x + y], axis=-1).astype(np.uint8)


def gray_of(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ [0.299, 0.587, 0.114]


def png(rows: np.ndarray, color_type: int, claim: tuple[int, int] | None = None) -> bytes:
    """Write a PNG by its specification. ``rows`` is (H, W, C), uint8 or uint16."""
    height, width = rows.shape[:2]
    width, height = claim or (width, height)
    depth = rows.dtype.itemsize * 8
    scanlines = rows.astype(rows.dtype.newbyteorder(">")).reshape(len(rows), -1).view(np.uint8)
    raw = np.pad(scanlines, ((0, 0), (1, 0))).tobytes()

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def compressed(data: bytes, format_name: str) -> CompressedFrame:
    return CompressedFrame(np.frombuffer(data, np.uint8), format_name)


def jpeg(bgr: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


@pytest.mark.parametrize("format_name", ["png", "rgb8; png compressed bgr8", ""])
def test_png_is_exact(format_name: str, rgb: np.ndarray) -> None:
    frame = compressed(png(rgb, 2), format_name)
    np.testing.assert_array_equal(to_color(frame, "rgb"), rgb)
    np.testing.assert_array_equal(to_bgr(frame), rgb[..., ::-1])


@pytest.mark.parametrize("format_name", ["jpeg", "jpg", "bgr8; jpeg compressed bgr8"])
def test_jpeg(format_name: str, rgb: np.ndarray) -> None:
    frame = compressed(jpeg(rgb[..., ::-1]), format_name)
    np.testing.assert_allclose(to_color(frame, "rgb"), rgb, atol=12)
    np.testing.assert_allclose(to_color(frame, "gray"), gray_of(rgb), atol=6)


def test_gray_jpeg(rgb: np.ndarray) -> None:
    gray = gray_of(rgb).round().astype(np.uint8)
    found = to_bgr(compressed(jpeg(gray), "mono8; jpeg compressed "))
    np.testing.assert_allclose(found, np.repeat(gray[..., None], 3, axis=-1), atol=6)


@pytest.mark.parametrize("color_type", [0, 2, 4, 6])
@pytest.mark.parametrize("wide", [False, True])
def test_png_of_any_channels_and_depth(color_type: int, wide: bool, rgb: np.ndarray) -> None:
    gray = gray_of(rgb).round().astype(np.uint8)[..., None]
    color = rgb if color_type in (2, 6) else gray
    alpha = np.full_like(gray, 255)
    rows = np.concatenate([color, alpha], axis=-1) if color_type in (4, 6) else color
    if wide:
        rows = rows.astype(np.uint16) * 257
    found = to_color(compressed(png(rows, color_type), "png"), "rgb")
    np.testing.assert_array_equal(found, np.broadcast_to(color, rgb.shape))


def test_exif_orientation_is_not_applied(rgb: np.ndarray) -> None:
    plain = jpeg(rgb[..., ::-1])
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
    exif = b"Exif\x00\x00" + tiff + b"\x00\x00\x00\x00"
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    found = to_bgr(compressed(turned, "jpeg"))
    np.testing.assert_array_equal(found, to_bgr(compressed(plain, "jpeg")))


@pytest.mark.parametrize("part", [0, 1, 8, 20, 100, 0.5, -12, -2])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_truncated_files_are_refused(kind: str, part: float, rgb: np.ndarray) -> None:
    data = jpeg(rgb[..., ::-1]) if kind == "jpeg" else png(rgb, 2)
    cut = data[: int(len(data) * part) if isinstance(part, float) else int(part)]
    with pytest.raises(ImageError, match="compressed image of format"):
        to_bgr(compressed(cut, kind))


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_missing_end_is_detected_before_decoding(kind: str, rgb: np.ndarray) -> None:
    """Older OpenCV decodes such a file and paints the missing part grey."""
    data = jpeg(rgb[..., ::-1]) if kind == "jpeg" else png(rgb, 2)
    with pytest.raises(ImageError, match=f"the end of the {kind.upper()} is missing"):
        to_bgr(compressed(data[: len(data) // 2 + 200], kind))


def test_bytes_after_the_end_of_a_jpeg_are_ignored(rgb: np.ndarray) -> None:
    data = jpeg(rgb[..., ::-1])
    np.testing.assert_array_equal(
        to_bgr(compressed(data + bytes(512), "jpeg")), to_bgr(compressed(data, "jpeg"))
    )


def test_a_png_with_altered_pixels_is_refused(rgb: np.ndarray) -> None:
    data = bytearray(png(rgb, 2))
    data[60] ^= 0x55
    with pytest.raises(ImageError, match="cannot be decoded"):
        to_bgr(compressed(bytes(data), "png"))


@pytest.mark.parametrize("size", [(60000, 60000), (16384, 16384), (0, 10), (2**31 - 1, 1)])
def test_a_png_that_claims_an_absurd_size_is_refused_unread(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"compressed image is {size[0]}x{size[1]}"):
        to_bgr(compressed(png(np.zeros((1, 1, 3), np.uint8), 2, claim=size), "png"))


def test_a_jpeg_that_claims_an_absurd_size_is_refused_unread(rgb: np.ndarray) -> None:
    data = bytearray(jpeg(rgb))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 40000, 50000)
    with pytest.raises(ImageError, match="compressed image is 50000x40000"):
        to_bgr(compressed(bytes(data), "jpeg"))


@pytest.mark.parametrize("data", [b"h264 or whatever", b"BM" + bytes(60), b"\xff\xd8\xff"])
def test_other_formats_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match="'h264'"):
        to_bgr(compressed(data, "h264"))


@given(st.binary(max_size=200))
def test_any_bytes_after_a_magic_give_an_image_error(tail: bytes) -> None:
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(ImageError):
            to_bgr(compressed(magic + tail, "jpeg"))

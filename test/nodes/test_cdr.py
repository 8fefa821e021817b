"""Our view of serialised images against the generated code, and against broken bytes."""

from __future__ import annotations

import struct
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from all_adapters import make_adapters
from edge_inference.composition.adapter import Adapter
from edge_inference.composition.cdr import (
    normalize_header,
    read_compressed_image,
    read_image,
    write_image,
)
from edge_inference.core.images.frame import Frame
from edge_inference.errors import ImageError, InputError
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter

U32 = st.integers(0, 2**32 - 1)
# ROS strings are C strings, so they contain no NUL.
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=24)
STAMPS = st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 999_999_999))


@st.composite
def images(draw: st.DrawFn) -> Image:
    message = Image(
        height=draw(U32),
        width=draw(U32),
        encoding=draw(TEXT),
        is_bigendian=draw(st.integers(0, 1)),
        step=draw(U32),
        data=array("B", draw(st.binary(max_size=64))),
    )
    message.header.frame_id = draw(TEXT)
    message.header.stamp.sec, message.header.stamp.nanosec = draw(STAMPS)
    return message


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    message = CompressedImage(format=draw(TEXT), data=array("B", draw(st.binary(max_size=64))))
    message.header.frame_id = draw(TEXT)
    message.header.stamp.sec, message.header.stamp.nanosec = draw(STAMPS)
    return message


def stamp_of(message: Image | CompressedImage) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def fields(frame: Frame) -> tuple:
    return (
        frame.stamp_ns,
        frame.frame_id,
        frame.height,
        frame.width,
        frame.encoding,
        frame.is_bigendian,
        frame.step,
        frame.data.tobytes(),
    )


def big_endian(message: Image) -> bytes:
    """Serialise an image with the byte order that no x86 writer uses, by hand."""
    out = bytearray()

    def number(code: str, value: int) -> None:
        size = struct.calcsize(code)
        out.extend(bytes(-len(out) % size) + struct.pack(">" + code, value))

    def text(value: str) -> None:
        raw = value.encode() + b"\0"
        number("I", len(raw))
        out.extend(raw)

    number("i", message.header.stamp.sec)
    number("I", message.header.stamp.nanosec)
    text(message.header.frame_id)
    number("I", message.height)
    number("I", message.width)
    text(message.encoding)
    number("B", message.is_bigendian)
    number("I", message.step)
    number("I", len(message.data))
    return b"\0\0\0\0" + bytes(out) + bytes(message.data)


@given(images())
def test_reading_equals_the_generated_code(message: Image) -> None:
    expected = (
        stamp_of(message),
        message.header.frame_id,
        message.height,
        message.width,
        message.encoding,
        bool(message.is_bigendian),
        message.step,
        message.data.tobytes(),
    )
    assert fields(read_image(serialize_message(message))) == expected
    assert fields(read_image(big_endian(message))) == expected


@given(images())
def test_generated_code_reads_our_writing(message: Image) -> None:
    frame = ImageAdapter().from_message(message)
    written = write_image(frame)
    assert deserialize_message(written, Image) == message
    assert ImageAdapter().to_message(frame) == message
    assert fields(read_image(written)) == fields(frame)


@given(compressed_images())
def test_compressed_reading_equals_the_generated_code(message: CompressedImage) -> None:
    frame = read_compressed_image(serialize_message(message))
    assert (frame.stamp_ns, frame.frame_id, frame.format, frame.data.tobytes()) == (
        stamp_of(message),
        message.header.frame_id,
        message.format,
        message.data.tobytes(),
    )
    assert CompressedImageAdapter().to_message(frame) == message


def make_image() -> bytes:
    return write_image(
        Frame(np.arange(12, dtype=np.uint8), 2, 2, "bgr8", 6, False, 1_500_000_000, "camera")
    )


def compressed() -> bytes:
    message = CompressedImage(format="jpeg", data=array("B", b"\xff\xd8\xff"))
    message.header.frame_id = "camera"
    # The writer pads the end; the message itself ends with its data.
    return serialize_message(message).rstrip(b"\0")


@pytest.mark.parametrize(
    ("data", "read"),
    [(make_image(), read_image), (compressed(), read_compressed_image)],
    ids=["image", "compressed"],
)
def test_cut_short_anywhere(data: bytes, read) -> None:
    read(data)
    for length in range(len(data)):
        with pytest.raises(ImageError, match=r"sensor_msgs/\w+ message"):
            read(data[:length])


@given(st.binary(max_size=200))
def test_random_bytes_are_an_image_or_an_image_error(data: bytes) -> None:
    for read in (read_image, read_compressed_image):
        for head in (b"", b"\0\0\0\0", b"\0\1\0\0"):
            try:
                read(head + data)
            except ImageError as error:
                assert "expected" in str(error)


def test_lengths_beyond_the_message() -> None:
    """A length of 4 GiB is refused before any allocation."""
    data = bytearray(make_image())
    data[-16:-12] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match="expected 4294967295 more bytes at byte 48, got 12"):
        read_image(bytes(data))


def test_unknown_encapsulation() -> None:
    with pytest.raises(ImageError, match="expected plain CDR"):
        read_image(b"\0\x0b\0\0" + bytes(40))


def test_the_pixels_are_a_read_only_view() -> None:
    data = make_image()
    frame = read_image(data)
    assert not frame.data.flags.writeable
    assert not frame.data.flags.owndata
    assert np.shares_memory(frame.data, np.frombuffer(data, np.uint8))


def test_text_that_is_not_utf8_is_kept_readable() -> None:
    data = make_image().replace(b"camera", b"cam\xffra")
    assert read_image(data).frame_id == "cam�ra"


HEADERS = [
    bytes((first, second, 0, options))
    for first, second in [*((0, second) for second in range(12)), (1, 0), (1, 1), (0xFF, 0xFF)]
    for options in (0, 1, 2, 3, 0xFF)
] + [b"\0\1\xff\xff"]
BODIES = (bytes(64), b"\xff" * 64, bytes(range(1, 65)), b"\1\0\0\0" * 16, b"\0\0\0\1" * 16)


@pytest.mark.parametrize("adapter", make_adapters(), ids=lambda adapter: type(adapter).__name__)
def test_any_header_gives_an_object_or_an_input_error(adapter: Adapter) -> None:
    """For most types Fast CDR itself crashes on 00 01 00 01 without a body."""
    refused = 0
    for header in HEADERS:
        is_plain = header[0] == 0 and header[1] < 2
        for body in BODIES if is_plain else BODIES[:1]:
            for length in range(65):
                try:
                    adapter.from_bytes(header + body[:length])
                except InputError as error:
                    assert "expected" in str(error)
                    refused += 1
    for length in range(4):
        with pytest.raises(InputError, match="expected plain CDR"):
            adapter.from_bytes(b"\0\1\0\0"[:length])
    assert refused > 65 * 5 * 13  # other representations


def test_padding_is_not_part_of_the_message() -> None:
    whole = serialize_message(CompressedImage(format="jpeg", data=array("B", b"\7\7\7\7")))
    padded = b"\0\1\0\2" + whole[4:] + b"\0\0"
    assert normalize_header(padded, "CompressedImage") == whole
    assert normalize_header(whole, "CompressedImage") is whole


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "expected plain CDR"),
        (b"\0\1\0", "expected plain CDR"),
        (b"\0\6\0\0", "expected plain CDR .* got '00 06 00 00'"),
        (b"\0\1\0\1", "expected 1 bytes of padding, as its header says, got a body of 0"),
        (b"\0\1\0\3ab", "expected 3 bytes of padding, as its header says, got a body of 2"),
    ],
)
def test_invalid_header_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        normalize_header(data, "Transcript")

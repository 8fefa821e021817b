"""Our view of serialised pictures against the generated code, and against broken bytes."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
import struct
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.cdr import (
    read_compressed_image,
    read_image,
    with_plain_header,
    write_image,
)
from edge_inference.core.frame import Frame
from edge_inference.errors import ImageError, InputError
from edge_inference.nodes import conversions
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter

RMWError = rclpy_implementation.RMWError
U32 = st.integers(0, 2**32 - 1)
# ROS strings hold no NUL, and what a C string cannot hold is not sent.
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
def test_writing_is_what_the_generated_code_reads(message: Image) -> None:
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


def picture() -> bytes:
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
    [(picture(), read_image), (compressed(), read_compressed_image)],
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
    """A length of 4 GiB is refused before anything is made of it."""
    data = bytearray(picture())
    data[-16:-12] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageError, match="expected 4294967295 more bytes at byte 48, got 12"):
        read_image(bytes(data))


def test_unknown_encapsulation() -> None:
    with pytest.raises(ImageError, match="expected plain CDR"):
        read_image(b"\0\x0b\0\0" + bytes(40))


def test_the_pixels_are_a_read_only_view() -> None:
    data = picture()
    frame = read_image(data)
    assert not frame.data.flags.writeable
    assert not frame.data.flags.owndata
    assert np.shares_memory(frame.data, np.frombuffer(data, np.uint8))


def test_text_that_is_not_utf8_is_kept_readable() -> None:
    data = picture().replace(b"camera", b"cam\xffra")
    assert read_image(data).frame_id == "cam�ra"


def adapters() -> list[Adapter]:
    """Return one adapter of each kind that is made without arguments."""
    for module in pkgutil.iter_modules(conversions.__path__):
        with contextlib.suppress(ImportError):  # of packages that are not installed
            importlib.import_module(f"{conversions.__name__}.{module.name}")
    found, kinds = [], [Adapter]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if hasattr(kind, "message_type") and not inspect.signature(kind).parameters:
            found.append(kind())
    return found


@pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: type(adapter).__name__)
def test_no_header_of_a_message_ends_the_process(adapter: Adapter) -> None:
    """Fast CDR itself dies of 00 01 00 01 and nothing behind, for most types."""
    refused = 0
    for representation in (
        b"\0\0",
        b"\0\1",
        b"\0\2",
        b"\0\3",
        b"\0\7",
        b"\0\x0b",
        b"\1\1",
        b"\xff\xff",
    ):
        for options in (b"\0\0", b"\0\1", b"\0\2", b"\0\3", b"\0\xff", b"\xff\xff"):
            for length in range(61):
                data = (representation + options + bytes(64))[:length]
                try:
                    adapter.from_bytes(data)
                except (InputError, RMWError):
                    refused += 1
    assert refused > 61 * 6 * 6  # all of another representation


def test_padding_is_no_part_of_a_message() -> None:
    whole = serialize_message(CompressedImage(format="jpeg", data=array("B", b"\7\7\7\7")))
    padded = b"\0\1\0\2" + whole[4:] + b"\0\0"
    assert with_plain_header(padded, "CompressedImage") == whole
    assert with_plain_header(whole, "CompressedImage") is whole


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
def test_a_header_that_cannot_be_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        with_plain_header(data, "Transcript")

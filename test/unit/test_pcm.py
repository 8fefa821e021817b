"""Conversion of PCM bytes to samples in all formats."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import InputError
from edge_inference.speech.audio.pcm import from_pcm, to_pcm16

HALF = {
    "U8": b"\xc0",
    "S8": b"\x40",
    "S16LE": b"\x00\x40",
    "S16BE": b"\x40\x00",
    "S24LE": b"\x00\x00\x40",
    "S24BE": b"\x40\x00\x00",
    "S24_32LE": b"\x00\x00\x40\x00",
    "S24_32BE": b"\x00\x40\x00\x00",
    "S32LE": b"\x00\x00\x00\x40",
    "S32BE": b"\x40\x00\x00\x00",
    "F32LE": struct.pack("<f", 0.5),
    "F32BE": struct.pack(">f", 0.5),
    "F64LE": struct.pack("<d", 0.5),
    "F64BE": struct.pack(">d", 0.5),
}
LEAST = {
    "U8": b"\x00",
    "S8": b"\x80",
    "S16LE": b"\x00\x80",
    "S24LE": b"\x00\x00\x80",
    "S24_32LE": b"\x00\x00\x80\xff",
    "S32BE": b"\x80\x00\x00\x00",
}


def test_no_bytes_give_no_samples() -> None:
    assert from_pcm(b"", "S16LE", 2).shape == (0,)


@pytest.mark.parametrize("name", HALF)
def test_every_format(name: str) -> None:
    samples = from_pcm(HALF[name] * 3, name, 1)
    assert samples.dtype == np.float32
    assert samples.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", LEAST)
def test_lowest_value(name: str) -> None:
    assert from_pcm(LEAST[name], name, 1).tolist() == [-1.0]


def test_channels_are_averaged() -> None:
    assert from_pcm(struct.pack("<4h", 16384, 0, -16384, 0), "S16LE", 2).tolist() == [0.25, -0.25]


@pytest.mark.parametrize("name", ["", "mp3", "s16le", "S16", "S8LE", "U16LE", "F16LE", "S16_32LE"])
def test_unknown_formats_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected U8, S8, S16LE"):
        from_pcm(b"", name, 1)


def test_incomplete_frame_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"multiple of 4 bytes \(2 channels of S16LE\), got 6 bytes"
    ):
        from_pcm(bytes(6), "S16LE", 2)
    with pytest.raises(InputError, match="channels: expected 1 to 64, got 0"):
        from_pcm(b"", "S16LE", 0)


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="expected finite numbers"):
        from_pcm(struct.pack("<f", float("nan")), "F32LE", 1)


@given(st.lists(st.integers(-32768, 32767)))
def test_pcm16_round_trip(values: list[int]) -> None:
    samples = from_pcm(np.array(values, "<i2").tobytes(), "S16LE", 1)
    assert to_pcm16(samples).tolist() == values


def test_samples_beyond_full_scale_are_clipped() -> None:
    assert to_pcm16(np.array([-2.0, 1.0], np.float32)).tolist() == [-32768, 32767]

"""Conversion of uncompressed audio (PCM) from and to bytes; format names are GStreamer's."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.audio import MAX_CHANNELS
from edge_inference.errors import InputError
from edge_inference.speech.audio.resample import to_mono

# The conversion temporarily needs several times this size.
_MAX_BYTES = 16 << 20

_FORMAT = re.compile(r"(?P<kind>[SUF])(?P<bits>\d+)(_32)?(?P<order>LE|BE)?")
_FORMATS = "U8, S8, S16LE, S24LE, S24_32LE, S32LE, F32LE, F64LE or one of these as BE"
_BITS = {"S": (8, 16, 24, 32), "U": (8,), "F": (32, 64)}


def from_pcm(data: bytes, sample_format: str, channels: int) -> NDArray[np.float32]:
    """Return float32 [n] within -1..1: the mean of interleaved channels.

    Raises InputError for an unknown format, for an incomplete frame, and for too many bytes.
    """
    check_length(len(data))
    match = _FORMAT.fullmatch(sample_format)
    bits = int(match["bits"]) if match else 0
    if match is None or bits not in _BITS[match["kind"]] or (bits > 8) != bool(match["order"]):
        raise InputError(f"sample_format {sample_format!r:.100}: expected {_FORMATS}")
    if match[3] and bits != 24:
        raise InputError(f"sample_format {sample_format!r:.100}: expected {_FORMATS}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise InputError(f"channels: expected 1 to {MAX_CHANNELS}, got {channels}")
    width = 4 if match[3] else bits // 8
    if len(data) % (width * channels):
        raise InputError(
            f"expected whole audio frames, a multiple of {width * channels} bytes ({channels} "
            f"channels of {sample_format}), got {len(data)} bytes"
        )
    order = ">" if match["order"] == "BE" else "<"
    values = _values(data, match["kind"], bits, order, width)
    return to_mono(values.reshape(-1, channels))


def check_length(length: int) -> None:
    """Raise InputError for too many bytes."""
    if length > _MAX_BYTES:
        raise InputError(
            f"expected at most {_MAX_BYTES} bytes of audio in one message, got {length}; send "
            "shorter messages"
        )


def to_pcm16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return int16 [n] from float32 [n] within -1..1."""
    values: NDArray[np.int16] = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return values


def _values(
    data: bytes, kind: str, bits: int, order: str, width: int
) -> NDArray[np.int32] | NDArray[np.float64]:
    """Return integers with their highest bit in bit 31, or floats."""
    if kind == "F":
        return np.frombuffer(data, f"{order}f{width}").astype(np.float64)
    if kind == "U":
        return (np.frombuffer(data, np.uint8).astype(np.int32) - 128) << 24
    if bits == 24 and width == 3:
        parts = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.uint32)
        low, middle, high = (parts if order == "<" else parts[:, ::-1]).T
        joined: NDArray[np.int32] = ((high << 24) | (middle << 16) | (low << 8)).view(np.int32)
        return joined
    whole: NDArray[np.int32] = np.frombuffer(data, f"{order}i{width}").astype(np.int32)
    shifted: NDArray[np.int32] = whole << (32 - bits)
    return shifted

"""Compares the preprocessing of a 1080p frame for a 416x416 model with plain numpy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report, interleave
from edge_inference.core.images.encodings import ENCODINGS
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor

_WIDTH, _HEIGHT, _SIDE = 1920, 1080, 416
_MEAN = (103.53, 116.28, 123.675)
_STD = (57.375, 57.12, 58.395)
_MIN_SPEEDUP = 3.0
_OTHER_ENCODINGS = ("rgb8", "rgba8", "mono8", "mono16", "uyvy", "nv12", "bayer_rggb8")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("preprocess", argv, __doc__)
    rounds = 100 if report.quick else 500
    image = _image()
    frame = Frame.from_array(image)
    spec = InputSpec("data", _SIDE, _SIDE, color="BGR", mean=_MEAN, std=_STD)
    ours = Preprocessor(spec)
    plain = _plain_numpy(image)

    difference = float(np.abs(ours.run(frame)[0].ravel() - plain()).max())
    report.figure("largest difference between the two results", difference)

    times = interleave({"ours": lambda: ours.run(frame), "plain numpy": plain}, rounds)
    for name, samples in times.items():
        report.samples(f"bgr8 1080p to {_SIDE} NCHW float32, {name}", samples)

    _other_encodings(report, spec, rounds // 5)
    _other_specs(report, frame, rounds // 5)
    speedup = times["plain numpy"].p50 / times["ours"].p50
    report.claim("preprocess-times-faster-than-numpy", speedup, at_least=_MIN_SPEEDUP)
    return report.finish()


def _plain_numpy(image: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
    mean = np.array(_MEAN, np.float32)
    std = np.array(_STD, np.float32)

    def preprocess() -> NDArray[np.float32]:
        small = cv2.resize(image, (_SIDE, _SIDE)).astype(np.float32)
        return np.asarray(((small - mean) / std).transpose(2, 0, 1).ravel(), np.float32)

    return preprocess


def _other_encodings(report: Report, spec: InputSpec, rounds: int) -> None:
    preprocess = Preprocessor(spec)
    random = np.random.default_rng(1)
    for name in _OTHER_ENCODINGS:
        encoding = ENCODINGS[name]
        step = _WIDTH * encoding.bytes_per_pixel
        size = step * _HEIGHT * encoding.half_rows // 2
        frame = Frame(random.integers(0, 256, size, np.uint8), _WIDTH, _HEIGHT, name, step)
        times = interleave({name: lambda frame=frame: preprocess.run(frame)}, rounds)  # type: ignore[misc]
        report.samples(f"{name} 1080p to {_SIDE} NCHW float32", times[name])


def _other_specs(report: Report, frame: Frame, rounds: int) -> None:
    letterbox = InputSpec("data", _SIDE, _SIDE, resize="letterbox")
    half = InputSpec("data", _SIDE, _SIDE, resize="center_crop", dtype="float16")
    channels_last = InputSpec("data", _SIDE, _SIDE, layout="NHWC")
    as_bytes = InputSpec("data", _SIDE, _SIDE, layout="NHWC", dtype="uint8")
    for spec in (letterbox, half, channels_last, as_bytes):
        title = f"{spec.resize} {spec.layout} {spec.dtype}"
        preprocess = Preprocessor(spec)
        times = interleave({title: lambda run=preprocess.run: run(frame)}, rounds)  # type: ignore[misc]
        report.samples(f"bgr8 1080p to {_SIDE} {title}", times[title])


def _image() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (54, 96, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (_WIDTH, _HEIGHT)), np.uint8)


if __name__ == "__main__":
    sys.exit(main())

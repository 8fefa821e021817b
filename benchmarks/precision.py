"""int8 beside fp32 on the CPU: how much faster, and how much it still agrees, for each model.

Both run in ONNX Runtime on one thread, in turns. Agreement is measured on
pictures and crops that the calibration has not seen: the share of pictures
with the same first class, or of boxes of either side with a partner on the
other (same label, overlap of at least 0.5; one whose score is within 0.1 of the
threshold may be missing). The flavours for TensorRT are computed by ONNX
Runtime here: what they find, not how fast they are.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Report, interleave
from benchmarks.unseen import Judge, unseen_pictures
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.model import ModelDescription, find_model
from edge_inference.engines.flavours.calibration import Calibration
from edge_inference.engines.flavours.derive import derive
from edge_inference.errors import ModelError

_MODELS = ("efficientnet_lite0", "nanodet")
_FLAVOURS = (("int8", "onnxruntime"), ("int8", "tensorrt"), ("fp16", "tensorrt"))
_TIMES_FASTER = 2.0
_AGREEMENT = 0.95


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("precision", argv, __doc__)
    with tempfile.TemporaryDirectory() as folder:
        for name in _MODELS:
            _measure(report, find_model(name), Path(folder))
    return report.finish()


def _measure(report: Report, model: ModelDescription, folder: Path) -> None:
    crops, rounds = (3, 40) if report.quick else (6, 200)
    files = {flavour: _derived(report, model, *flavour, folder) for flavour in _FLAVOURS}
    with (
        OrtBackend(model.variants["fp32"].file) as fp32,
        OrtBackend(files["int8", "onnxruntime"]) as int8,
    ):
        judge = Judge(model, fp32, unseen_pictures(model, crops))
        report.figure(f"{model.name}: unseen pictures and crops", len(judge.inputs))
        inputs = {model.input.name: judge.inputs[0][0]}
        times = interleave(
            {"fp32": lambda: fp32.infer(inputs), "int8": lambda: int8.infer(inputs)}, rounds
        )
        for what, samples in times.items():
            report.samples(f"{model.name}: {what}, one thread", samples)
        speedup = times["fp32"].p50 / times["int8"].p50
        report.claim(f"{model.name}-int8-times-faster-than-fp32", speedup, at_least=_TIMES_FASTER)
        for (precision, target), file in files.items():
            _agreement(report, judge, file, f"{model.name}-{precision}-for-{target}")


def _agreement(report: Report, judge: Judge, file: Path, what: str) -> None:
    with OrtBackend(file) as backend:
        found = judge.judge(backend)
    report.figure(f"{what}: things compared", found.results.counted)
    for tensor in found.outputs.tensors:
        report.figure(f"{what}: SQNR of {tensor.name}", tensor.sqnr_db, "dB")
    report.claim(f"{what}-agreement-with-fp32", found.results.share, at_least=_AGREEMENT)


def _derived(
    report: Report, model: ModelDescription, precision: str, target: str, folder: Path
) -> Path:
    if model.calibration is None:
        raise ModelError(f"model {model.name} has no calibration; add derive.calibration to it")
    file = folder / f"{model.name}-{precision}-{target}.onnx"
    made = derive(
        model.variants["fp32"].file,
        precision,
        target,
        file,
        keep_fp32=model.derive.keep_fp32(precision),
        calibration=Calibration.load(model.calibration),
    )
    report.figure(f"{model.name}: derived", made.summary())
    return file


if __name__ == "__main__":
    sys.exit(main())

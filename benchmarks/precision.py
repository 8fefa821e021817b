"""int8 beside fp32 on the CPU: how much faster, and how much it still agrees, for each model.

All run in ONNX Runtime on one thread, in turns, and the CPU time of that thread is
compared, in the rounds that were disturbed least. What is promised depends on the
processor: with instructions that multiply bytes (VNNI, AMX, dot products of ARM) int8 has
one form; x86 without VNNI has an exact form and a fast one with 7-bit weights.

Agreement is measured on images and crops that the calibration has not seen: the share of
images with the same first class, or of boxes of either side with a partner on the
other (same label, overlap of at least 0.5; one whose score is within 0.1 of the
threshold may be missing). The derived models for TensorRT are computed by ONNX
Runtime here: what they find, not how fast they are.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Report, interleave
from benchmarks.unseen import Fp32Reference, unseen_images
from edge_inference.backends.ort import OrtBackend
from edge_inference.backends.processor import Processor, find_processor
from edge_inference.core.models.model import ModelDescription, find_model
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.int8_mode import EXACT, FAST, FULL_BITS, weight_bits
from edge_inference.errors import ModelError

_MODELS = ("efficientnet_lite0", "nanodet")
_LEAST_IMAGES = 200
#: CPU time grows, too, while others use the other half of a core and its caches, and integers
#: suffer more from that: the percentile of rounds that had the core to themselves.
_UNDISTURBED = 10


@dataclass(frozen=True)
class DerivedVariant:
    """One derived file, and what is promised of it; None where nothing is."""

    title: str
    precision: str
    target: str = "onnxruntime"
    weight_bits: int = FULL_BITS
    agreement: float = 0.95
    times_faster: float | None = None
    sqnr_db: float | None = None


_FOR_TENSORRT = (
    DerivedVariant("int8-for-tensorrt", "int8", "tensorrt"),
    DerivedVariant("fp16-for-tensorrt", "fp16", "tensorrt"),
)


def int8_variants_of(processor: Processor) -> tuple[DerivedVariant, ...]:
    """Return the forms of int8 that a processor has, and what is promised of each."""
    if not processor.saturates:
        return (DerivedVariant("int8", "int8", times_faster=2.0, sqnr_db=16.0),)
    bits = {mode: weight_bits(mode, processor) for mode in (EXACT, FAST)}
    return (
        DerivedVariant(
            "int8-exact", "int8", weight_bits=bits[EXACT], times_faster=1.05, sqnr_db=16.0
        ),
        # Half as many steps of a weight are 6 dB at the most, and a class that was hardly ahead.
        DerivedVariant(
            "int8-fast",
            "int8",
            weight_bits=bits[FAST],
            agreement=0.92,
            times_faster=1.4,
            sqnr_db=14.0,
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("precision", argv, __doc__)
    processor = find_processor()
    report.figure("instruction set", processor.instruction_set)
    with tempfile.TemporaryDirectory() as folder:
        for name in _MODELS:
            _measure(report, find_model(name), int8_variants_of(processor), Path(folder))
    return report.finish()


def _measure(
    report: Report, model: ModelDescription, forms: tuple[DerivedVariant, ...], folder: Path
) -> None:
    with ExitStack() as opened:
        fp32 = opened.enter_context(OrtBackend(model.variants["fp32"].file))
        engines = {
            form: opened.enter_context(OrtBackend(_derived(report, model, form, folder)))
            for form in (*forms, *_FOR_TENSORRT)
        }
        judge = Fp32Reference(model, fp32, unseen_images(model, least=_LEAST_IMAGES))
        report.figure(f"{model.name}: unseen images and crops", len(judge.inputs))
        inputs = {model.input.name: judge.inputs[0][0]}
        sides = {"fp32": lambda: fp32.infer(inputs)} | {
            form.title: lambda engine=engines[form]: engine.infer(inputs)  # type: ignore[misc]
            for form in forms
        }
        times = interleave(sides, 120 if report.quick else 300, now_ns=time.thread_time_ns)
        for what, samples in times.items():
            report.samples(f"{model.name}: CPU time of {what}, one thread", samples)
        for form in forms:
            what = f"{model.name}-{form.title}-times-faster-than-fp32"
            fp32_times, own_times = times["fp32"], times[form.title]
            report.figure(f"{what}, by the medians", fp32_times.p50 / own_times.p50)
            speedup = fp32_times.percentile(_UNDISTURBED) / own_times.percentile(_UNDISTURBED)
            report.claim(what, speedup, at_least=form.times_faster)
        for form, engine in engines.items():
            # In a quick run those that others will compute are looked at more coarsely.
            every = 4 if report.quick and form in _FOR_TENSORRT else 1
            _agreement(report, judge, engine, form, model.name, every)


def _agreement(
    report: Report,
    judge: Fp32Reference,
    engine: OrtBackend,
    form: DerivedVariant,
    model: str,
    every: int,
) -> None:
    found = judge.judge(engine, every)
    what = f"{model}-{form.title}"
    report.figure(f"{what}: images and crops", len(judge.inputs[::every]))
    report.figure(f"{what}: things compared", found.results.compared)
    for tensor in found.outputs.tensors:
        report.figure(f"{what}: SQNR of {tensor.name}", tensor.sqnr_db, "dB")
    report.claim(f"{what}-agreement-with-fp32", found.results.share, at_least=form.agreement)
    if form.sqnr_db is not None:
        report.claim(f"{what}-worst-sqnr-db", found.outputs.sqnr_db, at_least=form.sqnr_db)


def _derived(report: Report, model: ModelDescription, form: DerivedVariant, folder: Path) -> Path:
    if model.calibration is None:
        raise ModelError(f"model {model.name} has no calibration; add derive.calibration to it")
    file = folder / f"{model.name}-{form.title}.onnx"
    made = derive(
        model.variants["fp32"].file,
        form.precision,
        form.target,
        file,
        keep_fp32=model.derive.keep_fp32(form.precision),
        calibration=Calibration.load(model.calibration),
        weight_bits=form.weight_bits,
    )
    report.figure(f"{model.name}: derived", made.summary())
    return file


if __name__ == "__main__":
    sys.exit(main())

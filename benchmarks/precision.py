"""int8 against fp32 on the CPU: the speedup and the agreement of each model.

All engines run in ONNX Runtime on one thread, interleaved. The CPU time of that thread is
compared, in the least disturbed rounds. The claims depend on the CPU: with instructions
that multiply bytes (VNNI, AMX, dot products of ARM) int8 has one mode; x86 without VNNI has an
exact mode and a fast one with 7-bit weights.

Agreement is measured on images and crops that the calibration did not use: the share of images
with the same first class, or of boxes with a matching box on the other side (same label, overlap
of at least 0.5; a box whose score is within 0.1 of the threshold may be missing). The derived
models for TensorRT run in ONNX Runtime here, which shows their results, not their speed.
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
from benchmarks.unseen_images import Fp32Reference, unseen_images
from edge_inference.backends.base import Backend
from edge_inference.backends.cpu_instructions import CpuInstructions, find_cpu_instructions
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.int8_mode import EXACT, FAST, FULL_BITS, weight_bits
from edge_inference.errors import ModelError

MODELS = ("efficientnet_lite0", "nanodet")
MIN_IMAGES = 200
#: Percentile of the CPU times to compare: the rounds that had the core to themselves. Load on the
#: other hyperthread and the caches increases the CPU time, too, and that of integers more.
_UNDISTURBED_PERCENTILE = 10


@dataclass(frozen=True)
class DerivedVariant:
    """One derived model and its claims; None for no claim."""

    title: str
    precision: str
    target: str = "onnxruntime"
    weight_bits: int = FULL_BITS
    min_agreement: float = 0.95
    min_speedup: float | None = None
    min_sqnr_db: float | None = None


@dataclass(frozen=True)
class VariantFigures:
    """What was measured of one variant, against fp32; ``speedup`` is None where it was not timed.

    ``speedup`` is that of the least disturbed rounds.
    """

    agreement: float
    sqnr_db: float
    speedup: float | None


_FOR_TENSORRT = (
    DerivedVariant("int8-for-tensorrt", "int8", "tensorrt"),
    DerivedVariant("fp16-for-tensorrt", "fp16", "tensorrt"),
)


def int8_variants_of(cpu: CpuInstructions) -> tuple[DerivedVariant, ...]:
    """Return the int8 modes of a CPU, with the claims for each."""
    if not cpu.saturates:
        return (DerivedVariant("int8", "int8", min_speedup=2.0, min_sqnr_db=16.0),)
    bits = {mode: weight_bits(mode, cpu) for mode in (EXACT, FAST)}
    return (
        DerivedVariant(
            "int8-exact", "int8", weight_bits=bits[EXACT], min_speedup=1.05, min_sqnr_db=16.0
        ),
        # 7-bit weights lose at most 6 dB, and classes whose scores are close.
        DerivedVariant(
            "int8-fast",
            "int8",
            weight_bits=bits[FAST],
            min_agreement=0.92,
            min_speedup=1.4,
            min_sqnr_db=14.0,
        ),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("precision", argv, __doc__)
    cpu = find_cpu_instructions()
    report.figure("instruction set", cpu.instruction_set)
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            model, variants = find_model(name), int8_variants_of(cpu)
            figures = measure_variants(report, model, variants, Path(folder), _FOR_TENSORRT)
            for variant in (*variants, *_FOR_TENSORRT):
                _claim(report, name, variant, figures[variant])
    return report.finish()


def _claim(report: Report, model: str, variant: DerivedVariant, figures: VariantFigures) -> None:
    what = f"{model}-{variant.title}"
    if figures.speedup is not None:
        report.claim(
            f"{what}-times-faster-than-fp32", figures.speedup, at_least=variant.min_speedup
        )
    report.claim(f"{what}-agreement-with-fp32", figures.agreement, at_least=variant.min_agreement)
    if variant.min_sqnr_db is not None:
        report.claim(f"{what}-worst-sqnr-db", figures.sqnr_db, at_least=variant.min_sqnr_db)


def measure_variants(
    report: Report,
    model: ModelDescription,
    variants: tuple[DerivedVariant, ...],
    folder: Path,
    untimed: tuple[DerivedVariant, ...] = (),
) -> dict[DerivedVariant, VariantFigures]:
    """Derive the variants, time them beside fp32, and compare all with it on unseen images."""
    with ExitStack() as opened:
        fp32 = opened.enter_context(OrtBackend(model.variants["fp32"].file))
        engines = {
            variant: opened.enter_context(OrtBackend(_derive(report, model, variant, folder)))
            for variant in (*variants, *untimed)
        }
        reference = Fp32Reference(model, fp32, unseen_images(model, min_images=MIN_IMAGES))
        report.figure(f"{model.name}: unseen images and crops", len(reference.inputs))
        inputs = {model.input.name: reference.inputs[0][0]}
        sides = {"fp32": lambda: fp32.infer(inputs)} | {
            variant.title: lambda engine=engines[variant]: engine.infer(inputs)
            for variant in variants
        }
        times = interleave(sides, 120 if report.quick else 300, now_ns=time.thread_time_ns)
        for what, samples in times.items():
            report.samples(f"{model.name}: CPU time of {what}, one thread", samples)
        figures = {}
        for variant, engine in engines.items():
            speedup = None
            if variant.title in times:
                what = f"{model.name}-{variant.title}-times-faster-than-fp32"
                fp32_times, own_times = times["fp32"], times[variant.title]
                report.figure(f"{what}, by the medians", fp32_times.p50 / own_times.p50)
                speedup = fp32_times.percentile(_UNDISTURBED_PERCENTILE) / own_times.percentile(
                    _UNDISTURBED_PERCENTILE
                )
                report.figure(what, speedup)
            # A quick run checks the models for TensorRT on fewer images.
            stride = 4 if report.quick and variant in untimed else 1
            agreement, sqnr_db = _report_agreement(
                report, reference, engine, variant, model.name, stride
            )
            figures[variant] = VariantFigures(agreement, sqnr_db, speedup)
    return figures


def _report_agreement(
    report: Report,
    reference: Fp32Reference,
    engine: Backend,
    variant: DerivedVariant,
    model: str,
    stride: int,
) -> tuple[float, float]:
    found = reference.compare(engine, stride)
    what = f"{model}-{variant.title}"
    report.figure(f"{what}: images and crops", len(reference.inputs[::stride]))
    report.figure(f"{what}: images or boxes compared", found.results.compared)
    for tensor in found.outputs.tensors:
        report.figure(f"{what}: SQNR of {tensor.name}", tensor.sqnr_db, "dB")
    report.figure(f"{what}: agreement with fp32", found.results.share)
    return found.results.share, found.outputs.sqnr_db


def _derive(report: Report, model: ModelDescription, variant: DerivedVariant, folder: Path) -> Path:
    if model.calibration is None:
        raise ModelError(f"model {model.name} has no calibration; add derive.calibration to it")
    file = folder / f"{model.name}-{variant.title}.onnx"
    derived = derive(
        model.variants["fp32"].file,
        variant.precision,
        variant.target,
        file,
        keep_fp32=model.derive.keep_fp32(variant.precision),
        calibration=Calibration.load(model.calibration),
        weight_bits=variant.weight_bits,
    )
    report.figure(f"{model.name}: derived", derived.summary())
    return file


if __name__ == "__main__":
    sys.exit(main())

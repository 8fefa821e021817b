"""Mixed precision by measured latency, against single precisions and quantize_static's defaults.

All engines of a model run in ONNX Runtime on one thread, interleaved; the CPU time of that thread
is compared, in the least disturbed rounds. Floors: agreement with fp32 of 95 % and an SQNR of
14 dB on the images of the search. What misses them on these images does not count.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimize_models import (
    depthwise_network,
    digit_model,
    residual_network,
    text_detector,
    vision_transformer,
)
from benchmarks.report import Report, Samples, interleave
from edge_inference.backends.cpu_instructions import find_cpu_instructions
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.checksum import sha256_of
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.self_check import run_self_check
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.precision.derive import derive_model
from edge_inference.optimize.images.image_set import ImageSet, golden_image_set
from edge_inference.optimize.placement.placement_report import SearchCost
from edge_inference.optimize.placement.placement_request import PlacementRequest
from edge_inference.optimize.placement.precision_search import search_precisions

_MIN_AGREEMENT, _MIN_SQNR_DB = 0.95, 14.0
#: As benchmarks/precision.py: load on the machine only adds time.
_UNDISTURBED_PERCENTILE = 10
_CHOSEN, _DEFAULTS, _FP32 = "chosen", "quantize_static", "fp32"
_SINGLES = (_FP32, "fp16", "int8")
_TRANSFORMER = "transformer"
_CALIBRATION_IMAGES, _SEARCH_IMAGES = 32, 64
_OPENED, _IN_A_ROW = 4, 3
#: Seconds for a search: where regions make a difference it ends before that on a quiet machine.
_SHORT_S, _LONG_S = 30.0, 150.0


@dataclass(frozen=True)
class _Subject:
    """A model with images to search on, and for quantize_static's calibration."""

    model: ModelDescription
    images: Sequence[Frame]
    calibration: Sequence[Frame]
    max_seconds: float


def measure(report: Report) -> None:
    """Search on each model, and add figures and claims."""
    over_defaults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for subject in _subjects(report, folder):
            gain = _measure_model(report, subject, folder)
            if gain is not None:
                over_defaults.append(gain)
    report.figure("placement: models where quantize_static's defaults lose", len(over_defaults))
    if over_defaults:
        report.claim(
            "placement-mean-over-quantize-static-where-it-loses-to-fp32",
            float(np.mean(over_defaults)),
            at_least=1.5,
        )


def _subjects(report: Report, folder: Path) -> list[_Subject]:
    networks: list[tuple[str, Any, int]] = [
        (_TRANSFORMER, vision_transformer, 56),
        ("residual", residual_network, 56),
        ("depthwise", depthwise_network, 28),
    ]
    subjects = []
    for name, network, size in networks[: 2 if report.quick else None]:
        model, frames = digit_model(name, network, size, folder)
        calibration = frames[-_CALIBRATION_IMAGES:]
        subjects.append(_Subject(model, frames[:_SEARCH_IMAGES], calibration, _LONG_S))
    if report.quick:
        return subjects
    for name in ("efficientnet_lite0", "nanodet"):
        model = find_model(name)
        images = [*golden_image_set(model)]
        subjects.append(_Subject(model, images, images, _SHORT_S))
    found = text_detector(folder)
    if found is None:
        report.figure("text_detector", "not measured: rapidocr-onnxruntime is not installed")
    else:
        model, frames = found
        half = len(frames) // 2
        subjects.append(_Subject(model, frames[:half], frames[half:], _LONG_S))
    return subjects


def _measure_model(report: Report, subject: _Subject, folder: Path) -> float | None:
    """Measure one model; return how many times faster than the defaults it is if these lose."""
    model, name = subject.model, subject.model.name
    output = folder / f"{name}_mixed"

    def tell(cost: SearchCost) -> None:
        report.figure(f"{name}: cost told before the search", cost.summary())

    found = search_precisions(
        PlacementRequest(
            model,
            ImageSet(subject.images, f"{len(subject.images)} images"),
            output,
            min_agreement=_MIN_AGREEMENT,
            min_sqnr_db=_MIN_SQNR_DB,
            max_seconds=subject.max_seconds,
        ),
        ArtifactCache(folder / "cache"),
        before_search=tell,
    )
    report.figure(f"{name}: result of the search", found.summary().partition(" Serve ")[0])
    files = {
        _FP32: model.variants["fp32"].file,
        _CHOSEN: _derived(load_model(output), found.chosen.candidate.precision, folder, _CHOSEN),
        _DEFAULTS: _quantize_with_defaults(subject, folder / f"{name}-defaults.onnx"),
        **{each: _derived(model, each, folder, each) for each in ("fp16", "int8")},
    }
    if find_cpu_instructions().saturates:
        files["int8, 7 bits"] = folder / f"{name}-7-bits.onnx"
        derive_model(model, "int8", "onnxruntime", files["int8, 7 bits"], 7)
    times, kept = _compare(report, subject, files)
    best = min(kept - {_CHOSEN}, key=lambda side: times[side])
    report.figure(f"{name}: best of the others that keep the floors", best)
    report.claim(f"placement-{name}-chosen-keeps-floors", float(_CHOSEN in kept), at_least=1.0)
    report.claim(
        f"placement-{name}-times-as-fast-as-the-best-other",
        times[best] / times[_CHOSEN],
        at_least=0.97,
    )
    if name == _TRANSFORMER:
        single = min(times[side] for side in kept if side in files and side.startswith(_SINGLES))
        report.claim(
            f"placement-{name}-mixed-over-every-single-precision",
            single / times[_CHOSEN],
            at_least=1.05,
        )
    if times[_DEFAULTS] > times[_FP32]:
        return times[_DEFAULTS] / times[_CHOSEN]
    return None


def _compare(
    report: Report, subject: _Subject, files: dict[str, Path]
) -> tuple[dict[str, float], set[str]]:
    """Return the milliseconds of each side, and the sides that keep the floors.

    Engines are opened several times, each time in another order: where their memory lies, and
    what ran before them, changes the time of a short inference by some percent. The least
    disturbed times count.
    """
    model, name = subject.model, subject.model.name
    tensor = Preprocessor(model.input)(subject.images[0])[0].copy()
    inputs = {model.input.name: tensor}
    kept, checked = set(), {}
    # One file in two engines would differ by where their memory lies.
    same = _same_as(files)
    samples: dict[str, list[Samples]] = {side: [] for side in files}
    generator = np.random.default_rng(0)
    for _ in range(_OPENED):
        with ExitStack() as opened:
            order = [list(files)[place] for place in generator.permutation(len(files))]
            engines = {
                side: opened.enter_context(OrtBackend(files[side]))
                for side in order
                if side not in same
            }
            found = _interleave(engines, inputs, 500.0 if report.quick else 1000.0)
            for side in files:
                samples[side].append(found[same.get(side, side)])
            if not checked:
                for side in files:
                    check = run_self_check(
                        model,
                        engines[_FP32].infer,
                        engines[same.get(side, side)].infer,
                        subject.images,
                    )
                    figures = check.figures()
                    checked[side] = figures.get("agreement", 0.0), figures.get("sqnr_db", np.inf)
    best = {side: min(each, key=_undisturbed) for side, each in samples.items()}
    for side, (agreement, sqnr_db) in checked.items():
        if agreement >= _MIN_AGREEMENT and sqnr_db >= _MIN_SQNR_DB:
            kept.add(side)
        report.samples(f"{name}: CPU time of {side}, one thread", best[side])
        speed = _undisturbed(best[_FP32]) / _undisturbed(best[side])
        report.figure(
            f"{name}: {side}",
            f"{speed:.3f} times as fast as fp32, agreement {agreement:.3f}, SQNR {sqnr_db:.1f} dB",
        )
    return {side: _undisturbed(each) for side, each in best.items()}, kept


def _same_as(files: dict[str, Path]) -> dict[str, str]:
    """Return for each side whose file has the content of another the name of that one."""
    first: dict[str, str] = {}
    same = {}
    for side in (*_SINGLES, *files):
        digest = sha256_of(files[side])
        if first.setdefault(digest, side) != side:
            same[side] = first[digest]
    return same


def _interleave(
    engines: dict[str, OrtBackend], inputs: dict[str, Any], budget_ms: float
) -> dict[str, Samples]:
    """Time all engines; a short inference runs three times in a row, and their mean counts."""

    def run(engine: OrtBackend) -> None:
        for _ in range(_IN_A_ROW):
            engine.infer(inputs)

    sides = {side: lambda engine=engine: run(engine) for side, engine in engines.items()}
    probe = interleave(sides, 2, warmup=1, now_ns=time.thread_time_ns)
    rounds = int(np.clip(budget_ms / sum(each.p50 for each in probe.values()), 8, 200))
    return interleave(sides, rounds, warmup=0, now_ns=lambda: time.thread_time_ns() // _IN_A_ROW)


def _undisturbed(samples: Samples) -> float:
    return samples.percentile(_UNDISTURBED_PERCENTILE)


def _derived(model: ModelDescription, precision: str, folder: Path, title: str) -> Path:
    if precision == "fp32":
        return model.variants["fp32"].file
    file = folder / f"{model.name}-{title}.onnx"
    derive_model(model, precision, "onnxruntime", file)
    return file


def _quantize_with_defaults(subject: _Subject, file: Path) -> Path:
    """Quantize with onnxruntime.quantization.quantize_static and none of its options."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    preprocess, name = Preprocessor(subject.model.input), subject.model.input.name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._frames = iter(subject.calibration[:_CALIBRATION_IMAGES])

        def get_next(self) -> dict[str, Any] | None:
            frame = next(self._frames, None)
            return None if frame is None else {name: preprocess(frame)[0].copy()}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises to preprocess the file
    try:
        quantize_static(str(subject.model.variants["fp32"].file), str(file), Reader())
    finally:
        root.setLevel(level)
    return file

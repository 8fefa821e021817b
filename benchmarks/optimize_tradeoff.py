"""Does the recommended operating point keep its promise when it is measured again?

Small classifiers of several widths, input sizes and sparsities in every precision: the trade-off
is measured on one part of the digits, requests are drawn, and the points that are recommended are
measured again, on other digits and at another time. The shipped models are judged by their
agreement with fp32 on crops of images that their calibration did not use.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimize_models import depthwise_network, residual_network
from benchmarks.report import Report
from benchmarks.unseen_images import unseen_images
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.optimize.export.model_folder import export_folder
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.pruning.structured import StructuredPruning, prune_structured
from edge_inference.optimize.tradeoff.measure_tradeoff import (
    TradeoffRequest,
    dataset_images,
    measure_tradeoff,
)
from edge_inference.optimize.tradeoff.pareto import pareto_front
from edge_inference.optimize.tradeoff.recommend import (
    DEFAULT_CONFIDENCE,
    DEFAULT_MARGIN,
    bounded_s,
    lower_accuracy,
    recommend,
)
from edge_inference.optimize.tradeoff.tradeoff_point import Tradeoff, TradeoffPoint
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.labeled_dataset import DatasetSplit, split_dataset
from edge_inference.optimize.training.torch_model import TorchModel
from edge_inference.optimize.training.train import TrainingSettings, train

#: Digits for training, for the trade-off, and for measuring again.
_SHARES = (0.4, 0.3, 0.3)
_BACKENDS = ("ort",)


@dataclass(frozen=True)
class _Network:
    name: str
    size: int
    make: Callable[[], Any]
    epochs: int = 6
    pruned: float = 0.0


_NETWORKS = (
    _Network("depthwise_8_at_28", 28, lambda: depthwise_network(8)),
    _Network("depthwise_16_at_28", 28, lambda: depthwise_network(16)),
    _Network("depthwise_32_at_56", 56, lambda: depthwise_network(32)),
    _Network("residual_8_at_28", 28, lambda: residual_network(8)),
    _Network("residual_16_at_56", 56, lambda: residual_network(16)),
    _Network("residual_16_at_56_half", 56, lambda: residual_network(16), pruned=0.5),
)
_QUICK = _NETWORKS[:1] + _NETWORKS[3:4]


@dataclass
class _Outcome:
    """What became of the drawn requests."""

    recommended: int = 0
    kept: int = 0
    kept_p95: int = 0
    impossible: int = 0
    rightly_impossible: int = 0
    best_named: int = 0
    confirmed: int = 0


def measure(report: Report) -> None:
    """Add the figures and claims."""
    with tempfile.TemporaryDirectory() as folder:
        cache = ArtifactCache(Path(folder, "cache"))
        digits = _measure_digits(Path(folder), cache, report)
        _judge(report, "labeled", *digits)
        shipped = _measure_shipped(cache, report)
        _judge(report, "by agreement", *shipped)


def _measure_digits(
    folder: Path, cache: ArtifactCache, report: Report
) -> tuple[Tradeoff, Tradeoff]:
    models: list[ModelDescription] = []
    first: list[ImageSet] = []
    second: list[ImageSet] = []
    for network in _QUICK if report.quick else _NETWORKS:
        split = _digits(network.size)
        model = _export(network, split, folder)
        models.append(model)
        first.append(dataset_images(split.validation, model))
        second.append(dataset_images(split.test, model))
    runs = 60 if report.quick else 200
    return _measure_twice(models, first, second, runs, cache)


def _digits(size: int) -> DatasetSplit:
    spec = InputSpec(name="image", width=size, height=size, color="GRAY", mean=(0.0,), std=(255.0,))
    return split_dataset(open_dataset("digits", spec), shares=_SHARES)


def _export(network: _Network, split: DatasetSplit, folder: Path) -> ModelDescription:
    import torch

    torch.manual_seed(0)
    settings = TrainingSettings(epochs=network.epochs, batch=32, learning_rate=5e-3)
    labels = split.train.labels
    model = TorchModel(network.make().eval(), split.train.input, labels, network.name)
    model = train(model, split.train, settings).model
    if network.pruned:
        pruned = prune_structured(model, StructuredPruning(network.pruned)).model
        model = train(pruned, split.train, dataclasses.replace(settings, epochs=3)).model
    return export_folder(model, folder / network.name, calibration=split.train)


def _measure_shipped(cache: ArtifactCache, report: Report) -> tuple[Tradeoff, Tradeoff]:
    models = [find_model("efficientnet_lite0"), find_model("nanodet")]
    limit = 40 if report.quick else 120
    images = [list(unseen_images(model))[:limit] for model in models]
    halves = [
        [ImageSet(each[start::2], f"{len(each[start::2])} unseen images") for each in images]
        for start in (0, 1)
    ]
    return _measure_twice(models, *halves, 12 if report.quick else 40, cache)


def _measure_twice(
    models: Sequence[ModelDescription],
    first: Sequence[ImageSet],
    second: Sequence[ImageSet],
    runs: int,
    cache: ArtifactCache,
) -> tuple[Tradeoff, Tradeoff]:
    chosen_by, held_out = (
        measure_tradeoff(TradeoffRequest(models, images, _BACKENDS, runs=runs), cache)
        for images in (first, second)
    )
    return chosen_by, held_out


def _judge(report: Report, name: str, measured: Tradeoff, held_out: Tradeoff) -> None:
    """Draw requests, and compare each answer with the held-out measurement."""
    usable = measured.usable()
    front = pareto_front(measured.points).points
    report.figure(f"trade-off {name}: points", f"{len(usable)}, on the front {len(front)}")
    for point in front:
        report.figure(f"  {point.name}", _describe(point))
    outcome = _Outcome()
    generator = np.random.default_rng(0)
    shares = [_share(point) for point in usable]
    times_ms = [_bounded_ms(point) for point in usable]
    low, high = np.log(min(times_ms) * 0.7), np.log(max(times_ms) * 1.3)
    for _ in range(200 if report.quick else 1000):
        min_accuracy = float(generator.uniform(2 * min(shares) - max(shares), 1.0))
        max_latency_ms = float(np.exp(generator.uniform(low, high)))
        _answer(outcome, measured, held_out, min_accuracy, max_latency_ms)
    report.figure(f"requests {name}: recommended", outcome.recommended)
    report.figure(f"requests {name}: impossible", outcome.impossible)
    tail = outcome.kept_p95 / max(outcome.recommended, 1)
    report.figure(f"requests {name}: kept by the 95th percentile, too", tail)
    if outcome.impossible:
        confirmed = outcome.confirmed / outcome.impossible
        report.figure(f"requests {name}: impossible when measured again, too", confirmed)
        for what, count in (
            ("impossible and no point meets both", outcome.rightly_impossible),
            ("impossible and the best reachable named", outcome.best_named),
        ):
            report.claim(f"requests {name}: {what}", count / outcome.impossible, at_least=1.0)
    report.claim(
        f"requests {name}: the recommended point meets both bounds when measured again",
        outcome.kept / max(outcome.recommended, 1),
        at_least=0.9,
    )


def _answer(
    outcome: _Outcome,
    measured: Tradeoff,
    held_out: Tradeoff,
    min_accuracy: float,
    max_latency_ms: float,
) -> None:
    found = recommend(measured, min_accuracy, max_latency_ms)
    if found.point is not None:
        outcome.recommended += 1
        again = held_out.point(found.point.name)
        if again is not None and again.accuracy is not None and again.latency is not None:
            is_accurate = _share(again) >= min_accuracy and not again.problem
            outcome.kept += is_accurate and _bounded_ms(again) <= max_latency_ms
            outcome.kept_p95 += is_accurate and 1e3 * again.latency.p95_s <= max_latency_ms
        return
    outcome.impossible += 1
    usable = measured.usable()
    accurate = [
        point
        for point in usable
        if lower_accuracy(point, measured.accuracy_kind, DEFAULT_CONFIDENCE) >= min_accuracy
    ]
    fast = [point for point in usable if _bounded_ms(point) * DEFAULT_MARGIN <= max_latency_ms]
    outcome.rightly_impossible += not {id(point) for point in accurate} & {id(p) for p in fast}
    outcome.confirmed += recommend(held_out, min_accuracy, max_latency_ms).point is None
    best = found.best_reachable
    assert best is not None
    fastest_ms = min(map(_bounded_ms, accurate), default=None)
    highest = max(map(_share, fast), default=None)
    named_ms = None if best.fastest is None else _bounded_ms(best.fastest)
    named_share = None if best.most_accurate is None else _share(best.most_accurate)
    outcome.best_named += (named_ms, named_share) == (fastest_ms, highest)


def _share(point: TradeoffPoint) -> float:
    assert point.accuracy is not None
    return point.accuracy.share


def _bounded_ms(point: TradeoffPoint) -> float:
    return 1e3 * bounded_s(point)


def _describe(point: TradeoffPoint) -> str:
    assert point.latency is not None
    return (
        f"{_share(point):.1%}, p50 {1e3 * point.latency.median_s:.3f} ms, "
        f"p95 {1e3 * point.latency.p95_s:.3f} ms"
    )

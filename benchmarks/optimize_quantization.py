"""What quantization costs and gains: int8 of the shipped models, and training with rounding.

The shipped models are compared on images and crops that their calibration did not use. A small
depthwise network, whose weights are hard to round, learns real digits and is then rounded without
and with a training; each seed has its own split, weights and order. Accuracy is that on images
that nothing was trained or chosen on.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.optimize_models import depthwise_network
from benchmarks.precision import MODELS, DerivedVariant, int8_variants_of, measure_variants
from benchmarks.report import Report
from edge_inference.backends.cpu_instructions import find_cpu_instructions
from edge_inference.core.models.model_search import find_model
from edge_inference.optimize.quantization.quantization_aware import (
    QuantizedTraining,
    QuantizedTrainingReport,
    train_quantized,
)
from edge_inference.optimize.quantization.quantized_export import check_deployed, export_quantized
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import split_dataset
from edge_inference.optimize.training.torch_model import TorchModel, import_torch
from edge_inference.optimize.training.train import TrainingSettings, train

_MIN_AGREEMENT, _MIN_SQNR_DB = 0.95, 14.0
_MIN_SPEEDUP, _MIN_SPEEDUP_WITHOUT_VNNI = 2.0, 1.05
_FEWER_BITS = DerivedVariant("int8-with-7-bit-weights", "int8", weight_bits=7)
_SEEDS = 5
_IMAGES = 4000
#: Points of accuracy below which there is nothing to recover.
_CLEAR_LOSS = 0.03
#: Few enough bits that rounding alone loses accuracy.
_LOW_BITS = {
    "3 bits per channel": QuantizedTraining(weight_bits=3),
    "4 bits per tensor": QuantizedTraining(weight_bits=4, per_channel=False),
}


def measure(report: Report) -> None:
    """Add the figures and claims of quantization."""
    _measure_post_training(report)
    _measure_aware(report)


def _measure_post_training(report: Report) -> None:
    cpu = find_cpu_instructions()
    report.figure("instruction set", cpu.instruction_set)
    variants = int8_variants_of(cpu)
    if not cpu.saturates:  # else it is the fast form
        variants = (*variants, _FEWER_BITS)
    least = _MIN_SPEEDUP_WITHOUT_VNNI if cpu.saturates else _MIN_SPEEDUP
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure_variants(report, find_model(name), variants, Path(folder))
        close = [
            figures
            for figures in measured.values()
            if figures.agreement >= _MIN_AGREEMENT and figures.sqnr_db >= _MIN_SQNR_DB
        ]
        # The speed of the fastest form that is close enough to fp32, 0 without one.
        fastest = max((figures.speedup or 0.0 for figures in close), default=0.0)
        report.claim(f"{name}-close-int8-times-faster-than-fp32", fastest, at_least=least)


def _measure_aware(report: Report) -> None:
    seeds = range(1 if report.quick else _SEEDS)
    recovered: dict[str, list[float]] = {title: [] for title in _LOW_BITS}
    gains, deployed_differences, agreements = [], [], []
    for seed in seeds:
        split = split_dataset(open_dataset("digits", None, limit=_IMAGES), seed)
        import_torch().manual_seed(seed)
        network = depthwise_network(width=8).eval()
        untrained = TorchModel(network, split.train.input, split.train.labels, "digits")
        base = TrainingSettings(epochs=12, batch=32, learning_rate=1e-2, seed=seed)
        model = train(untrained, split.train, base).model
        more = TrainingSettings(epochs=4, batch=32, learning_rate=2e-3, seed=seed)
        longer = evaluate(train(model, split.train, more).model, split.test)
        report.figure(f"seed {seed}: fp32 trained as long, top-1", longer.share)
        for title, form in _LOW_BITS.items():
            found = train_quantized(model, split, replace(form, training=more))
            _tell(report, f"seed {seed}: {title}", found)
            if found.recovered is not None and _loss(found) >= _CLEAR_LOSS:
                recovered[title].append(found.recovered)
        # The training that QuantizedTraining has by default: at 8 bits there is little to recover.
        default = replace(QuantizedTraining().training, seed=seed)
        found = train_quantized(model, split, QuantizedTraining(training=default))
        _tell(report, f"seed {seed}: int8", found)
        gains.append(found.quantized.share - found.post_training.share)
        with tempfile.TemporaryDirectory() as folder:
            described = export_quantized(found, split, Path(folder, "digits"))
            check = check_deployed(found, described, split.test)
        report.figure(f"seed {seed}: deployed", check.summary())
        deployed_differences.append(abs(check.deployed.share - check.torch.share))
        agreements.append(check.agreement)
    for title, shares in recovered.items():
        name = title.replace(" ", "-")
        report.figure(f"{title}: seeds in which rounding alone loses 3 points", len(shares))
        report.figure(f"{title}: standard deviation of the recovered share", _spread(shares))
        report.claim(f"aware-{name}-share-of-loss-recovered", _mean(shares), at_least=2 / 3)
    report.claim("aware-int8-points-over-post-training", 100 * _mean(gains), at_least=-0.5)
    report.claim(
        "aware-int8-deployed-points-from-torch", 100 * max(deployed_differences), at_most=0.5
    )
    report.claim("aware-int8-deployed-same-class", min(agreements), at_least=0.99)


def _tell(report: Report, what: str, found: QuantizedTrainingReport) -> None:
    report.figure(f"{what}: fp32, top-1", found.fp32.share)
    report.figure(f"{what}: rounded without training, top-1", found.post_training.share)
    report.figure(f"{what}: rounded with training, top-1", found.quantized.share)


def _loss(found: QuantizedTrainingReport) -> float:
    return found.fp32.share - found.post_training.share


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _spread(values: list[float]) -> float:
    return float(np.std(values)) if values else float("nan")

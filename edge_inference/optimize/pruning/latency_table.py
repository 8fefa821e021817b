"""Structured pruning to a target time: measured at several ratios, not computed from operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edge_inference.core.measured_costs import Spread
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.onnx_timing import DEFAULT_RUNS
from edge_inference.optimize.pruning.network_figures import (
    compare_layers,
    count_network,
    measure_networks,
)
from edge_inference.optimize.pruning.pruning_report import (
    STRUCTURED,
    LatencyRow,
    PruningReport,
)
from edge_inference.optimize.pruning.structured import (
    NothingToPruneError,
    RemovedChannels,
    StructuredPruning,
    remove_channels,
)
from edge_inference.optimize.training.evaluate import evaluate
from edge_inference.optimize.training.labeled_dataset import LabeledDataset
from edge_inference.optimize.training.torch_model import TorchModel

DEFAULT_RATIOS = tuple(tenths / 10 for tenths in range(1, 9))

#: Returns the file size and the time of each model, see :func:`measure_networks`.
Measure = Callable[[Sequence[TorchModel], int, Progress, Cancelled], list[tuple[int, Spread]]]


@dataclass(frozen=True)
class LatencyTarget:
    """A time to reach: milliseconds of one image, or the speed over the unpruned network.

    The milliseconds are of ONNX Runtime on one thread of this machine. Raises ConfigError unless
    exactly one is given.
    """

    milliseconds: float | None = None
    speedup: float | None = None

    def __post_init__(self) -> None:
        given = [each for each in (self.milliseconds, self.speedup) if each is not None]
        if len(given) != 1:
            raise ConfigError("target: expected milliseconds or speedup, one of them")
        if not (math.isfinite(given[0]) and given[0] > 0):
            raise ConfigError(f"target: expected more than 0, got {given[0]}")

    def is_met(self, row: LatencyRow) -> bool:
        """Tell whether a measured row reaches the target."""
        if self.speedup is not None:
            return row.speedup >= self.speedup
        return row.time.median_s * 1e3 <= (self.milliseconds or 0.0)

    def __str__(self) -> str:
        """Return the target for people."""
        if self.speedup is not None:
            return f"{self.speedup:g} times the speed"
        return f"{self.milliseconds:g} ms"


def prune_to_latency(
    model: TorchModel,
    target: LatencyTarget,
    settings: StructuredPruning,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
    *,
    ratios: Sequence[float] = DEFAULT_RATIOS,
    dataset: LabeledDataset | None = None,
    evaluated: LabeledDataset | None = None,
    runs: int = DEFAULT_RUNS,
    measure: Measure = measure_networks,
) -> PruningReport:
    """Prune a model at the smallest of ``ratios`` that reaches a target; no training.

    The network is pruned at each ratio, and all are timed interleaved with the unpruned one; the
    report has the table. The time does not depend on the weights, so fine-tuning changes nothing.
    ``settings.ratio`` has no effect; ``evaluated`` has the images for the accuracy, not measured
    without. Raises ModelError that names the fastest ratio if none
    reaches the target, and what :func:`prune_structured` raises.
    """
    if not ratios or not all(0 < ratio < 1 for ratio in ratios):
        raise ConfigError(f"ratios: expected shares between 0 and 1, got {tuple(ratios)}")
    candidates: dict[float, RemovedChannels] = {}
    for done, ratio in enumerate(sorted(set(ratios))):
        progress(f"removing {ratio:.0%} of the channels", done / len(set(ratios)) / 2)
        try:
            candidates[ratio] = remove_channels(
                model, replace(settings, ratio=ratio), cancelled, dataset=dataset
            )
        except NothingToPruneError:
            if ratio == max(ratios) and not candidates:
                raise  # so small a ratio may remove nothing; the largest has to
    models = [model, *(model.with_module(each.module) for each in candidates.values())]
    measured = measure(
        models,
        runs,
        lambda phase, fraction: progress(phase, None if fraction is None else 0.5 + fraction / 2),
        cancelled,
    )
    table = _make_table(models, measured, candidates)
    chosen = next((row for row in table if target.is_met(row)), None)
    if chosen is None:
        best = max(table, key=lambda row: row.speedup)
        raise ModelError(
            f"model {model.name}: no ratio up to {max(ratios):g} reaches {target}; the fastest is "
            f"{best.ratio:g} with {best.time.median_s * 1e3:.3g} ms ({best.speedup:.2f} times the "
            f"speed of {measured[0][1].median_s * 1e3:.3g} ms); use a smaller input or network, or "
            "a higher max_ratio_per_layer"
        )
    number = 1 + list(candidates).index(chosen.ratio)
    removed = candidates[chosen.ratio]
    before, after = (
        replace(count_network(models[index]), bytes=size, time=time)
        for index, (size, time) in ((0, measured[0]), (number, measured[number]))
    )
    if evaluated is not None:
        before = replace(before, accuracy=evaluate(model, evaluated))
        after = replace(after, accuracy=evaluate(models[number], evaluated))
    return PruningReport(
        model=models[number],
        kind=STRUCTURED,
        ratio=chosen.ratio,
        pruned=removed.pruned,
        before=before,
        after=after,
        layers=compare_layers(model.module, removed.module),
        kept=removed.kept,
        latency_table=table,
    )


def _make_table(
    models: Sequence[TorchModel],
    measured: Sequence[tuple[int, Spread]],
    candidates: Mapping[float, RemovedChannels],
) -> tuple[LatencyRow, ...]:
    base = measured[0][1].median_s
    return tuple(
        LatencyRow(ratio, removed.pruned, count_network(model).macs, time, base / time.median_s)
        for (ratio, removed), model, (_, time) in zip(
            candidates.items(), models[1:], measured[1:], strict=True
        )
    )

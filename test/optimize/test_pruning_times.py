"""What pruning gains: measured times, the report that says so, and a target time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_inference.cli.command_line import run
from edge_inference.core.measured_costs import Spread
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ConfigError, ModelError
from edge_inference.optimize.pruning.latency_table import LatencyTarget, prune_to_latency
from edge_inference.optimize.pruning.network_figures import compare_networks, count_network
from edge_inference.optimize.pruning.pruning_report import PruningReport
from edge_inference.optimize.pruning.structured import StructuredPruning, prune_structured
from edge_inference.optimize.pruning.unstructured import UnstructuredPruning, prune_unstructured
from edge_inference.optimize.training.torch_model import TorchModel
from optimize_kit import digits, small_cnn, small_model
from pruning_networks import Depthwise, TorchAttention, Vit, seeded


def timed(report: PruningReport, before_s: float, after_s: float) -> PruningReport:
    return replace(
        report,
        before=replace(report.before, time=Spread(before_s, before_s)),
        after=replace(report.after, time=Spread(after_s, after_s)),
    )


def pruned(model: TorchModel, **settings: Any) -> PruningReport:
    return prune_structured(model, StructuredPruning(**settings), runs=None)


def test_figures_of_a_network() -> None:
    figures = count_network(seeded(Depthwise))
    positions, gates = 14 * 14, 2 * 16 * 16
    depthwise = positions * 16 * 9
    assert figures.depthwise_macs == depthwise
    assert figures.macs == 2 * depthwise + gates + positions * 16 * 16 + 160
    assert figures.time is None and figures.bytes is None and figures.accuracy is None
    width, tokens = 32, 16
    attention = tokens * width * width * 4 + 2 * tokens * tokens * width
    for kind in (None, TorchAttention(32, 2)):
        transformer = count_network(seeded(Vit, kind))
        assert transformer.macs == 28 * 28 * 32 + attention + 2 * tokens * 32 * 64 + 320


def test_both_networks_are_measured() -> None:
    report = prune_structured(small_model(32), StructuredPruning(), evaluated=digits(30), runs=3)
    before, after = report.before, report.after
    assert before.time is not None and after.time is not None
    assert before.time.median_s > 0 and report.speedup is not None
    assert before.bytes is not None and after.bytes is not None and after.bytes < before.bytes
    assert before.accuracy is not None and before.accuracy.total == 30
    content = json.loads(json.dumps(report.to_json()))
    assert content["after"]["macs"] == after.macs and content["summary"] == report.summary()


def test_a_pruned_attention_of_torch_is_measured() -> None:
    report = prune_structured(
        seeded(Vit, TorchAttention(32, 2)), StructuredPruning(scope="layer"), runs=3
    )
    assert report.speedup is not None and report.macs_ratio > 2.5


def test_the_report_says_when_fewer_operations_are_not_faster() -> None:
    report = pruned(small_model(32))
    assert report.is_faster is None and "faster" not in report.summary()
    fast = timed(report, 2e-3, 1e-3)
    assert fast.is_faster and "2.00 times the speed" in fast.summary()
    assert "not faster" not in fast.summary()
    slow = timed(report, 1e-3, 0.98e-3).summary()
    assert (
        f"÷{report.macs_ratio:.1f}" in slow and "It is not faster (1.02 times the speed)." in slow
    )
    assert "the input is too small" in slow and "depthwise" in slow
    assert "multiple of 8" not in slow
    unaligned = timed(pruned(small_model(32), ratio=0.1, round_to=1), 1e-3, 2e-3)
    assert "no multiple of 8 (" in unaligned.summary()
    big = replace(fast, before=replace(fast.before, macs=10**9), after=fast.before)
    assert "moving the data" in timed(big, 1e-3, 1e-3).summary()
    for pattern, words in (("unstructured", "remove whole channels"), ("2:4", "sparse_weights")):
        zeros = prune_unstructured(small_model(), UnstructuredPruning(pattern=pattern), runs=None)
        assert words in zeros.summary() and "not faster" not in zeros.summary()
        slow = timed(zeros, 1e-3, 1e-3).summary()
        assert "It is not faster (1.00 times the speed). A dense runtime" in slow and words in slow


class Clock:
    """Measures a network as its operations, with a fixed cost."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(
        self, models: Sequence[TorchModel], runs: int, progress: Progress, cancelled: Cancelled
    ) -> list[tuple[int, Spread]]:
        self.calls += 1
        progress("measuring", 1.0)
        seconds = [count_network(model).macs / 1e9 + 1e-4 for model in models]
        return [(1000, Spread(each, each)) for each in seconds]


def test_the_smallest_ratio_that_reaches_the_time_is_chosen() -> None:
    model = small_model(64)
    clock = Clock()
    base = count_network(model).macs / 1e9 + 1e-4
    for target in (LatencyTarget(speedup=2.0), LatencyTarget(milliseconds=base / 2 * 1e3)):
        report = prune_to_latency(model, target, StructuredPruning(), measure=clock)
        by_ratio = {row.ratio: row for row in report.latency_table}
        assert report.speedup is not None and report.speedup >= 2.0
        assert all(row.speedup < 2.0 for row in report.latency_table if row.ratio < report.ratio)
        assert by_ratio[report.ratio].speedup == pytest.approx(report.speedup)
        assert report.after.macs == by_ratio[report.ratio].macs
    assert clock.calls == 2 and len(report.latency_table) == 8
    with pytest.raises(ModelError, match=r"reaches 50 times the speed; the fastest is 0\.8 with"):
        prune_to_latency(model, LatencyTarget(speedup=50), StructuredPruning(), measure=clock)


def test_a_bad_target_is_refused() -> None:
    for given in ({}, {"milliseconds": 1.0, "speedup": 2.0}, {"speedup": float("nan")}):
        with pytest.raises(ConfigError, match="target"):
            LatencyTarget(**given)
    with pytest.raises(ConfigError, match="ratios"):
        prune_to_latency(
            small_model(), LatencyTarget(speedup=2), StructuredPruning(), ratios=(0.5, 1.0)
        )


def test_cancelling_ends_the_measurement() -> None:
    with pytest.raises(CancelledError):
        compare_networks(small_model(), small_model(), cancelled=lambda: True)


def make(width: int) -> Any:
    torch.manual_seed(0)
    return small_cnn(width)


def prune_by_command(*options: str) -> int:
    network = [f"{Path(__file__)}:make", "--argument", "width=32"]
    data = ["--data", "digits", "--images", "200", "--fine-tune-epochs", "1"]
    return run(["optimize", "prune", *network, *data, "--json", *options])


def test_the_command_prunes_and_writes(tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "pruned.pt"
    assert prune_by_command("--output", str(output)) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    module = torch.load(output, weights_only=False)
    assert result["pruned"] == 0.5 and len(module[0].weight) == 16
    assert result["after"]["accuracy"]["total"] == result["before"]["accuracy"]["total"] > 0
    assert [each.name for each in tmp_path.iterdir()] == ["pruned.pt"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kind", "2:4", "--speedup", "2"], "--speedup is for --kind structured"),
        (["--kind", "2:4", "--ratio", "0.7"], "always removes half"),
        (["--min-accuracy", "0.9"], "--min-accuracy needs --iterative"),
        (["--ignore", "nothing"], "no layer of model make matches 'nothing'"),
    ],
)
def test_the_command_says_what_is_wrong(
    options: list[str], words: str, tmp_path: Path, capsys: Any
) -> None:
    code = prune_by_command("--output", str(tmp_path / "x.onnx"), *options)
    error = capsys.readouterr().err
    assert code in (1, 2) and words in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())

"""The frame that all benchmarks share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import Report, Samples, interleave
from edge_inference.observe.benchmark.benchmark_environment import describe_environment


def test_a_run_without_claims_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert Report("empty", []).finish() == 0
    printed = capsys.readouterr().out
    assert "benchmark empty" in printed
    assert "numpy: " in printed


@pytest.mark.parametrize(
    ("value", "bounds", "outcome", "status"),
    [
        (3.0, {"at_least": 3}, "holds", 0),
        (2.9, {"at_least": 3}, "falls short", 1),
        (1.1, {"at_most": 1.1}, "holds", 0),
        (1.2, {"at_most": 1.1}, "falls short", 1),
        (float("nan"), {"at_most": 1.1}, "falls short", 1),
    ],
)
def test_the_last_line_is_the_claim(value, bounds, outcome, status, capsys) -> None:
    report = Report("one", [])
    report.claim("speed", value, **bounds)
    assert report.finish() == status
    bound = next(iter(bounds.values()))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"claim speed value {value:g} bound {bound:g} {outcome}"


@pytest.mark.parametrize("bounds", [{}, {"at_least": 1, "at_most": 2}])
def test_a_claim_has_one_bound(bounds: dict) -> None:
    with pytest.raises(TypeError, match="exactly one"):
        Report("one", []).claim("speed", 1, **bounds)


def test_the_json_file_contains_all_figures(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    report = Report("all", ["--quick", "--json", str(path)])
    assert report.quick
    report.figure("size", 12.5, "MB")
    report.samples("hop", Samples([1_000_000, 3_000_000]))
    report.claim("ratio", 5, at_least=3)
    report.finish()
    content = json.loads(path.read_text())
    assert content["figures"]["size"] == {"value": 12.5, "unit": "MB"}
    assert content["figures"]["hop"]["p50"] == 2.0
    assert content["claims"][0]["holds"] is True
    assert content["environment"] == describe_environment(())


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        Samples([])


def test_sides_take_turns() -> None:
    calls: list[str] = []
    times = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, 1)
    assert calls == ["a", "b"] * 4
    assert times["a"].summary()["count"] == 3

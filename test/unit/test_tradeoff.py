"""The Pareto front, the recommendation, and the saved file of a trade-off."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.measured_costs import Spread
from edge_inference.engines.cache.cache_entry import canonical
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.tradeoff.pareto import AXES, pareto_front
from edge_inference.optimize.tradeoff.recommend import recommend
from edge_inference.optimize.tradeoff.tradeoff_document import load_tradeoff, save_tradeoff
from edge_inference.optimize.tradeoff.tradeoff_point import (
    AGREEMENT,
    TOP1,
    Tradeoff,
    TradeoffPoint,
)

MACHINE = {"cpu": "one", "onnxruntime": "1"}


def point(
    model: str, correct: int | None, ms: float | None, *, kib: int | None = 100, **more: Any
) -> TradeoffPoint:
    """Return a point of 1000 images whose 95th percentile is its median."""
    accuracy = None if correct is None else MeasuredAccuracy(correct, 1000)
    latency = None if ms is None else Spread(ms / 1e3, ms / 1e3)
    size = None if kib is None else kib << 10
    values = {"backend": "ort", "precision": "fp32", **more}
    return TradeoffPoint(
        model, width=32, height=32, accuracy=accuracy, latency=latency, file_bytes=size, **values
    )


def tradeoff(*points: TradeoffPoint, kind: str = TOP1) -> Tradeoff:
    return Tradeoff(points, kind, {"a": "1000 digits"}, 30, 1, MACHINE, 1.5, ("a problem",))


def names(points: Any) -> list[str]:
    return [each.model for each in points]


def test_the_front_has_what_nothing_beats_and_says_what_was_left_out() -> None:
    points = (
        point("best", 990, 9.0),
        point("fast", 900, 1.0),
        point("same", 900, 1.0),
        point("beaten", 890, 1.0),
        point("slow", 990, 9.1),
        point("unknown", None, 0.1),
        point("broken", 999, 0.1, problem="no GPU"),
    )
    front = pareto_front(points)
    assert names(front.points) == ["fast", "same", "best"]
    assert {name.split()[0]: reason for name, reason in front.excluded.items()} == {
        "unknown": "not measured: accuracy",
        "broken": "no GPU",
    }


def test_other_axes_keep_other_points() -> None:
    points = (point("a", 990, 9.0, kib=50, energy_j=2.0), point("b", 980, 9.5, kib=20))
    assert names(pareto_front(points).points) == ["a"]
    assert names(pareto_front(points, ("accuracy", "latency", "size")).points) == ["a", "b"]
    front = pareto_front(points, ("accuracy", "energy"))
    assert names(front.points) == ["a"]
    assert "energy" in front.excluded[points[1].name]


@pytest.mark.parametrize("over", [(), ("accurcy",)])
def test_unknown_axes_are_refused(over: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="axes: "):
        pareto_front((), over)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), max_size=12))
def test_every_point_is_on_the_front_or_beaten_by_one_of_it(values: list[tuple[int, int]]) -> None:
    points = [point(f"m{n}", correct, ms) for n, (correct, ms) in enumerate(values)]
    front = pareto_front(points).points
    costs = {each.name: [AXES[axis](each) for axis in ("accuracy", "latency")] for each in points}
    for each in points:
        beaten = any(
            costs[other.name] != costs[each.name]
            and all(a <= b for a, b in zip(costs[other.name], costs[each.name], strict=True))
            for other in front
        )
        assert beaten != (each in front)


def test_the_fastest_with_both_bounds_is_recommended() -> None:
    measured = tradeoff(point("big", 990, 9.0), point("middle", 960, 5.0), point("small", 900, 1.0))
    found = recommend(measured, 0.94, 8.0)
    assert found.point is not None
    assert found.point.model == "middle"
    assert "96.0% of 1000 images" in found.summary()
    assert found.best_reachable is None


def test_the_measurement_s_uncertainty_counts() -> None:
    close = tradeoff(point("a", 950, 5.0))
    assert recommend(close, 0.95, 8.0).point is None  # 1000 images do not show that
    assert recommend(close, 0.95, 8.0, confidence=0.5).point is not None
    slow = dataclasses.replace(close.points[0], latency=Spread(0.005, 0.0079))
    assert recommend(tradeoff(slow), 0.9, 8.0).point is None
    assert recommend(tradeoff(slow), 0.9, 8.0, margin=1.0).point is not None
    cpu = dataclasses.replace(slow, is_cpu_time=True)  # its tail shows what else ran
    assert recommend(tradeoff(cpu), 0.9, 8.0).point is not None
    assert recommend(tradeoff(cpu), 0.9, 5.4).point is None


def test_of_equally_fast_points_the_more_accurate_then_the_smaller_is_chosen() -> None:
    measured = tradeoff(
        point("a", 950, 1.00), point("b", 970, 1.03, kib=90), point("c", 970, 1.04, kib=80),
        point("d", 999, 1.2),
    )  # fmt: skip
    found = recommend(measured, 0.9, 8.0).point
    assert found is not None
    assert found.model == "c"


def test_a_batch_is_as_late_as_its_last_image_and_as_fast_as_its_share() -> None:
    measured = tradeoff(point("a", 950, 1.0), point("a", 950, 2.4, batch=4))
    for max_latency_ms, batch in ((8.0, 4), (2.0, 1)):
        found = recommend(measured, 0.9, max_latency_ms).point
        assert found is not None
        assert found.batch == batch


def test_the_impossible_names_the_best_reachable() -> None:
    measured = tradeoff(
        point("big", 990, 9.0), point("middle", 960, 5.0), point("small", 900, 1.0),
        point("broken", 999, 0.1, problem="no GPU"),
    )  # fmt: skip
    found = recommend(measured, 0.97, 6.0)
    assert found.point is None
    best = found.best_reachable
    assert best is not None and best.fastest is not None and best.most_accurate is not None
    assert (best.fastest.model, best.most_accurate.model) == ("big", "middle")
    assert found.summary().startswith("impossible: no point keeps 97.0% within 6 ms; the fastest")
    neither = recommend(measured, 0.9999, 0.5)
    assert "none is accurate enough, at most big" in neither.summary()
    assert "none is fast enough, at best small" in neither.summary()
    json.dumps(neither.to_json(), allow_nan=False)


def test_without_a_usable_point_nothing_is_recommended() -> None:
    for measured in (tradeoff(), tradeoff(point("a", None, 1.0))):
        found = recommend(measured, 0.5, 100.0)
        assert found.point is None
        assert "has both an accuracy and a latency" in found.summary()


def test_a_model_agrees_with_itself_on_any_images() -> None:
    few = dataclasses.replace(point("a", 1, 1.0), accuracy=MeasuredAccuracy(3, 3))
    other = dataclasses.replace(few, precision="int8")
    assert recommend(tradeoff(few, kind=AGREEMENT), 1.0, 2.0).point == few
    assert recommend(tradeoff(other, kind=AGREEMENT), 0.9, 2.0).point is None
    assert recommend(tradeoff(few, kind=TOP1), 0.9, 2.0).point is None


@pytest.mark.parametrize(
    "bounds",
    [
        {"min_accuracy": 92.0},
        {"min_accuracy": math.nan},
        {"max_latency_ms": 0.0},
        {"max_latency_ms": math.inf},
        {"margin": 0.9},
        {"confidence": 1.0},
    ],
)
def test_impossible_bounds_are_refused(bounds: dict[str, float]) -> None:
    (name,) = bounds
    with pytest.raises(ConfigError, match=f"{name}: expected a number"):
        recommend(tradeoff(), **{"min_accuracy": 0.9, "max_latency_ms": 5.0, **bounds})


def test_a_saved_trade_off_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    saved = tradeoff(
        point("a", 950, 1.0, energy_j=0.5, sparsity=0.25, is_cpu_time=True),
        point("b", None, None, kib=None, precision="int8", int8_mode="fast", problem="no GPU"),
    )
    save_tradeoff(saved, file)
    assert load_tradeoff(file, MACHINE) == saved
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(ConfigError, match="another machine, with another onnxruntime; measure"):
        load_tradeoff(file, {**MACHINE, "onnxruntime": "2"})
    assert load_tradeoff(file) == saved
    with pytest.raises(ModelError, match="cannot be written"):
        save_tradeoff(saved, tmp_path / "nowhere" / "a.json")


def signed(content: Any) -> dict[str, Any]:
    checksum = hashlib.sha256(canonical([1, content]).encode()).hexdigest()
    return {"format": 1, "checksum": checksum, "content": content}


def changed(**values: Any) -> dict[str, Any]:
    content = tradeoff(point("a", 950, 1.0)).to_json()
    content["points"][0].update(values)
    return signed(content)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "expected a saved trade-off as JSON"),
        ("[]", "format 1, got None"),
        ('{"format": NaN}', "NaN is not valid JSON"),
        ("[" * 100_000, "nested too deep"),
        ({"format": 2}, "format 1, got 2; measure it again"),
        ({**changed(), "checksum": "0"}, "altered or cut off"),
        (signed(None), "not a valid trade-off: expected accuracy_kind"),
        (changed(median_s=-1.0), "median_s: expected a number"),
        (changed(median_s=None), "expected both or none"),
        (changed(correct=1001), "correct: expected a count of at most 1000"),
        (changed(precision="int4"), "precision: expected one of"),
        (changed(batch=True), "batch: expected an integer"),
        (changed(more=1), "a point: expected"),
        (signed({**tradeoff(point("a", 1, 1.0), point("a", 1, 1.0)).to_json()}), "the same name"),
        (signed({**tradeoff().to_json(), "runs": 3}), "runs: expected"),
        (signed({**tradeoff().to_json(), "machine": {"cpu": 1}}), "machine: expected a text"),
        (signed({**tradeoff().to_json(), "points": {}}), "points: expected a list"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(tmp_path: Path, document: Any, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(ConfigError, match=message):
        load_tradeoff(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tradeoff(tmp_path / "none.json")

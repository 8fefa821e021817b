"""Measured costs as text: of a check, in a table, and with the previous cost."""

from __future__ import annotations

import io
import json
from dataclasses import replace

from edge_inference.cli.compare.comparison_format import print_comparison, row_as_json
from edge_inference.cli.models.cost_format import cost_as_text, ratio_to_reference
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import Cost, Measurement, Spread
from edge_inference.core.models.model_search import find_model
from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.core.results import ResultAgreement
from edge_inference.core.runtime.latency import Percentiles
from edge_inference.optimize.comparison import CompareRow, Comparison
from edge_inference.optimize.images.image_set import ImageSet

FP32 = EngineConfiguration("net", "fp32", "ort", "a" * 64, execution="threads=1")
INT8 = replace(FP32, precision="int8", artifact="b" * 64)


def cost(configuration: EngineConfiguration, seconds: float) -> Cost:
    return Cost(configuration, 20, Spread(3 * seconds, 4 * seconds), Spread(seconds, seconds))


def test_the_cost_of_a_check_has_the_ratio_to_the_reference() -> None:
    pair = Measurement("self-check", 0.0, (cost(INT8, 0.015), cost(FP32, 0.04)))
    assert ratio_to_reference(pair) == "15.0 ms, 0.38 of the time of net ort fp32, threads=1"
    assert ratio_to_reference(replace(pair, costs=pair.costs[:1])) == "15.0 ms"


def test_a_cost_names_its_configuration() -> None:
    assert cost_as_text(cost(FP32, 0.04)) == "40.0 ms ort threads=1"
    assert cost_as_text(cost(replace(FP32, batch=4), 0.1)) == "100.0 ms ort threads=1, batch 4"


def shown(now_s: float, before_s: float | None) -> tuple[str, dict]:
    """Compare a row with its previous cost; return the printed text and the JSON."""
    known = None
    if before_s is not None:
        known = cost(FP32, before_s), Measurement("compare", 0.0, ())
    row = CompareRow(
        "ort",
        "fp32",
        check=SelfCheckReport(1, (), ResultAgreement(1, 1), None),
        latency=Percentiles(*[90.0] * 6),
        measured_cost=(cost(FP32, now_s), Measurement("compare", 1.0, ())),
        previous_cost=known,
    )
    model, none = find_model("efficientnet_lite0"), ImageSet([], "none")
    comparison = Comparison(model, none, 20, 1, (row,), ("the costs were altered",))
    stream = io.StringIO()
    print_comparison(comparison, {"cpu": "one"}, stream)
    return stream.getvalue(), json.loads(json.dumps(row_as_json(comparison, row)))


def test_a_changed_cost_is_reported() -> None:
    text, row = shown(0.030, 0.015)
    assert "ort fp32 takes 30.0 ms; the previous measurement here took 15.0 ms" in text
    assert "the costs were altered" in text
    assert row["measured_cost"]["cpu_median_ms"] == 30.0
    assert row["previous_cost"]["cpu_median_ms"] == 15.0


def test_an_unchanged_or_new_cost_is_not_reported() -> None:
    assert "previous" not in shown(0.030, 0.029)[0]
    text, row = shown(0.030, None)
    assert "previous" not in text
    assert row["previous_cost"] is None

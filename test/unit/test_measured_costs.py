"""Costs of engine configurations: which one counts, and which are unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import (
    FASTER,
    MINIMUM_RUNS,
    Cost,
    MeasuredCosts,
    Measurement,
    Samples,
    Spread,
)

FP32 = EngineConfiguration("net", "fp32", "ort", "a" * 64, execution="threads=1")
FP16 = replace(FP32, precision="fp16", artifact="b" * 64)
INT8 = replace(FP32, precision="int8", artifact="c" * 64)


def together(*times: tuple[EngineConfiguration, float], taken_s: float = 1.0) -> Measurement:
    costs = (
        Cost(configuration, 20, Spread(seconds, seconds * 1.1)) for configuration, seconds in times
    )
    return Measurement("test", taken_s, tuple(costs))


def known(*measurements: Measurement) -> MeasuredCosts:
    found = MeasuredCosts()
    for measurement in measurements:
        found = found.with_measurement(measurement, 100)
    return found


def test_without_a_measurement_costs_are_unknown() -> None:
    costs = MeasuredCosts()
    assert costs.cost(FP32) is None
    assert costs.ratio(INT8, FP32) is None
    assert costs.is_faster(INT8, FP32) is None


def test_runs_are_summarized_by_median_and_p95() -> None:
    wall = [0.01] * 18 + [0.5, 0.9]
    (cost,) = Measurement.of("test", 1.0, {FP32: Samples(wall, [0.02] * 20)}).costs
    assert cost.runs == 20
    assert cost.wall.median_s == 0.01
    assert 0.5 < cost.wall.p95_s < 0.9
    assert cost.cpu == Spread(0.02, 0.02)
    assert cost.seconds == 0.02  # other load does not count


def test_too_few_runs_give_no_cost() -> None:
    few = Samples([0.01] * (MINIMUM_RUNS - 1))
    enough = Samples([0.01] * MINIMUM_RUNS)
    assert Measurement.of("test", 1.0, {FP32: few}) is None
    assert Measurement.of("test", 1.0, {}) is None
    measurement = Measurement.of("test", 1.0, {FP32: few, INT8: enough})
    assert [cost.configuration for cost in measurement.costs] == [INT8]


def test_a_ratio_comes_from_one_measurement() -> None:
    cool = together((FP32, 0.040), (INT8, 0.020))
    hot = together((INT8, 0.044))  # the machine was throttled meanwhile
    costs = known(cool, hot)
    assert costs.cost(INT8).seconds == 0.044
    assert costs.ratio(INT8, FP32) == 0.5
    assert costs.is_faster(INT8, FP32)
    assert known(together((FP32, 0.04)), hot).ratio(INT8, FP32) is None


def test_the_newest_ratio_counts() -> None:
    before = together((FP32, 0.04), (FP16, 0.03), (INT8, 0.02))
    costs = known(before, together((FP32, 0.04), (FP16, 0.05)))
    assert costs.ratio(FP16, FP32) == 1.25
    assert costs.is_faster(FP16, FP32) is False


def test_a_ratio_uses_cpu_time_where_both_have_one() -> None:
    def cost(configuration: EngineConfiguration, wall_s: float, cpu_s: float | None) -> Cost:
        cpu = None if cpu_s is None else Spread(cpu_s, cpu_s)
        return Cost(configuration, 20, Spread(wall_s, wall_s), cpu)

    busy = Measurement("test", 1.0, (cost(FP32, 0.04, 0.04), cost(INT8, 0.09, 0.02)))
    assert known(busy).ratio(INT8, FP32) == 0.5
    on_gpu = Measurement("test", 1.0, (cost(FP32, 0.04, 0.01), cost(INT8, 0.02, None)))
    assert known(on_gpu).ratio(INT8, FP32) == 0.5


@pytest.mark.parametrize(
    ("seconds", "is_faster"), [(FASTER - 0.01, True), (FASTER + 0.01, False), (1.5, False)]
)
def test_a_small_gain_is_not_faster(seconds: float, is_faster: bool) -> None:
    assert known(together((FP32, 1.0), (INT8, seconds))).is_faster(INT8, FP32) is is_faster


@pytest.mark.parametrize(
    "other",
    [
        replace(INT8, artifact="d" * 64),
        replace(INT8, execution="threads=2"),
        replace(INT8, batch=4),
        replace(INT8, backend="ort-cuda"),
        replace(INT8, model="other"),
    ],
)
def test_any_other_configuration_is_unknown(other: EngineConfiguration) -> None:
    costs = known(together((FP32, 0.04), (INT8, 0.02)))
    assert costs.cost(other) is None
    assert costs.ratio(other, FP32) is None


def test_a_new_measurement_replaces_superseded_ones() -> None:
    all_three = together((FP32, 0.04), (FP16, 0.04), (INT8, 0.02))
    pair = together((FP32, 0.05), (INT8, 0.03))
    again = together((FP32, 0.06), (INT8, 0.03))
    assert known(all_three, pair, again).measurements == (all_three, again)
    assert known(pair, all_three).measurements == (all_three,)


def test_the_oldest_are_dropped_beyond_the_limit() -> None:
    costs = MeasuredCosts()
    for number in range(10):
        configuration = replace(FP32, artifact=f"{number:064x}")
        costs = costs.with_measurement(together((configuration, 0.01), (INT8, 0.01)), 6)
    kept = [each.costs[0].configuration.artifact[-1] for each in costs.measurements]
    assert kept == ["7", "8", "9"]
    alone = MeasuredCosts().with_measurement(together((FP32, 1.0), (INT8, 1.0)), 1)
    assert len(alone.measurements) == 1  # the newest one always stays


def test_the_newest_costs_of_a_model_are_listed() -> None:
    cool, hot = together((FP32, 0.04), (INT8, 0.02)), together((INT8, 0.03))
    other = together((replace(FP32, model="other"), 1.0))
    found = known(cool, other, hot).newest_of_model("net")
    assert [(cost.configuration, cost.seconds, of) for cost, of in found] == [
        (FP32, 0.04, cool),
        (INT8, 0.03, hot),
    ]


def test_a_configuration_has_a_title() -> None:
    assert INT8.title == "net ort int8, threads=1"
    assert replace(INT8, batch=4, execution="").title == "net ort int8, batch 4"


def test_the_expected_time_scales_with_the_engine_in_use() -> None:
    costs = known(together((FP32, 0.040), (INT8, 0.020)), together((FP16, 0.030)))
    # The machine is hot: a run of 40 ms takes 100 ms now.
    assert costs.expected_s(INT8, FP32, 0.1) == pytest.approx(0.05)
    assert costs.expected_s(INT8, FP32, 0.1, last_s=0.02) == pytest.approx(0.05)
    assert costs.expected_s(FP32, FP32, 0.1, last_s=0.1) == pytest.approx(0.1)


def test_without_a_ratio_the_expected_time_is_the_last_or_measured_one() -> None:
    costs = known(together((FP32, 0.040), (INT8, 0.020)), together((FP16, 0.030)))
    assert costs.expected_s(FP16, FP32, 0.1) == 0.03
    assert costs.expected_s(FP16, FP32, 0.1, last_s=0.07) == 0.07
    assert costs.expected_s(INT8, FP32, None) == 0.02
    assert costs.expected_s(INT8, None, None) == 0.02
    assert costs.expected_s(None, FP32, 0.1) is None
    assert MeasuredCosts().expected_s(INT8, FP32, 0.1) is None
    assert MeasuredCosts().expected_s(INT8, INT8, 0.1, last_s=0.1) == 0.1

"""The allocation of a budget to nodes, and the choice of their engines."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.core.directives.directive import OperatingPoint
from edge_inference.governor.allocation import (
    PowerDemand,
    allocate,
    best_point,
    make_power_demand,
    share_at_point,
)
from edge_inference.governor.directive_builder import (
    cheapest_operating_point,
    inference_seconds,
    pareto_points,
)
from edge_inference.governor.settings import GovernorSettings
from governor_cases import ENGINES, node

DETECTOR = PowerDemand("/detector", 0, 30.0, 3.0, 1, (0.42, 0.25, 0.14), (1.0, 0.98, 0.88))


@pytest.mark.parametrize(
    ("budget", "operating_point", "rate"),
    [
        (20.0, 0, 30.0),
        (12.6, 0, 30.0),
        (10.0, 1, 30.0),
        (7.0, 1, 28.0),
        (4.2, 2, 30.0),
        (1.4, 2, 10.0),
        (0.42, 2, 3.0),
    ],
)
def test_engines_before_rates(budget: float, operating_point: int, rate: float) -> None:
    share = share_at_point(DETECTOR, best_point(DETECTOR, budget), budget)
    assert (share.operating_point, share.rate_hz) == (operating_point, pytest.approx(rate))
    assert share.cost == pytest.approx(rate * DETECTOR.costs[operating_point])
    assert not share.is_below_minimum


@pytest.mark.parametrize("budget", [0.4, 0.0, -5.0])
def test_below_the_minimum_a_node_still_gets_the_minimum(budget: float) -> None:
    share = share_at_point(DETECTOR, best_point(DETECTOR, budget), budget)
    assert (share.rate_hz, share.batch, share.is_below_minimum) == (3.0, 1, True)


@pytest.mark.parametrize(("budget", "batch"), [(0.4, 7), (0.2, 3), (0.0, 1)])
def test_below_the_minimum_rate_batches_get_smaller(budget: float, batch: int) -> None:
    share = share_at_point(replace(DETECTOR, batch=8), 2, budget)
    assert (share.rate_hz, share.batch) == (3.0, batch)
    assert share.cost <= max(budget, 0.42 / 8) + 1e-9


def test_a_higher_priority_is_served_first() -> None:
    low, high = replace(DETECTOR, node="/a"), replace(DETECTOR, node="/b", priority=5)
    shares = allocate([low, high], 8.0)
    assert (shares["/b"].operating_point, shares["/b"].rate_hz) == (1, 30.0)
    assert (shares["/a"].operating_point, shares["/a"].rate_hz) == (2, pytest.approx(0.5 / 0.14))


def test_the_minimum_of_every_node_is_reserved() -> None:
    demands = [replace(DETECTOR, node=f"/{n}", priority=n) for n in range(3)]
    shares = allocate(demands, 2.0)
    assert [shares[f"/{n}"].rate_hz for n in (0, 1)] == pytest.approx([3.0, 3.0])
    assert sum(share.cost for share in shares.values()) <= 2.0 + 1e-9


def test_nodes_of_equal_priority_are_served_by_name() -> None:
    demands = [replace(DETECTOR, node=name) for name in ("/b", "/a")]
    assert allocate(demands, 8.0) == allocate(demands[::-1], 8.0)


def test_without_nodes_nothing_is_allocated() -> None:
    assert allocate([], 10.0) == {}


power_demands = st.builds(
    PowerDemand,
    node=st.sampled_from(["/a", "/b", "/c", "/d"]),
    priority=st.integers(-3, 3),
    demand_hz=st.floats(0.1, 200),
    min_rate_hz=st.floats(0.01, 0.1),
    batch=st.integers(1, 8),
    costs=st.lists(st.floats(1e-3, 5), min_size=3, max_size=3).map(tuple),
    accuracies=st.lists(st.floats(0, 1), min_size=3, max_size=3).map(tuple),
)


@given(st.lists(power_demands, max_size=4, unique_by=lambda each: each.node), st.floats(-10, 500))
def test_the_budget_is_kept_unless_the_minimum_exceeds_it(
    demands: list[PowerDemand], budget: float
) -> None:
    shares = allocate(demands, budget)
    assert set(shares) == {demand.node for demand in demands}
    minimum = sum(demand.min_cost for demand in demands)
    assert sum(share.cost for share in shares.values()) <= max(budget, minimum) + 1e-6
    for demand in demands:
        rate = shares[demand.node].rate_hz
        assert demand.min_rate_hz <= rate <= demand.demand_hz


@given(power_demands, st.floats(0, 500), st.floats(0, 500))
def test_more_budget_never_lowers_the_utility(
    demand: PowerDemand, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    low_utility, high_utility = (
        share_at_point(demand, best_point(demand, each), each).utility for each in (low, high)
    )
    assert low_utility <= high_utility + 1e-9


def test_a_measured_duration_is_used() -> None:
    assert inference_seconds(ENGINES, GovernorSettings()) == pytest.approx([0.020, 0.012, 0.007])


def test_an_unmeasured_duration_is_estimated_from_measured_ones() -> None:
    settings = GovernorSettings(fp16_cost=0.5, int8_cost=0.25)
    operating_points = (
        OperatingPoint("net", "fp32", 1.0, None),
        OperatingPoint("net", "fp16", 1.0, 10.0),
        OperatingPoint("net", "int8", 1.0, math.nan),
        OperatingPoint("small", "int8", 1.0, 0.0),
    )
    assert inference_seconds(operating_points, settings) == pytest.approx(
        [0.020, 0.010, 0.005, 0.005]
    )


def test_without_measurements_durations_are_ratios() -> None:
    operating_points = tuple(replace(each, process_ms=None) for each in ENGINES)
    assert inference_seconds(operating_points, GovernorSettings()) == [1.0, 0.6, 0.4]


@pytest.mark.parametrize(
    "changes",
    [{"demand_hz": None}, {"demand_hz": math.nan}, {"demand_hz": 0.0}, {"operating_points": ()}],
)
def test_a_node_with_an_unknown_demand_has_no_power_demand(changes: dict[str, object]) -> None:
    assert make_power_demand(node(**changes), 1.0, GovernorSettings()) is None


def test_unknown_accuracies_fall_in_the_order_of_the_operating_points() -> None:
    operating_points = tuple(replace(each, accuracy=None) for each in ENGINES)
    demand = make_power_demand(node(operating_points=operating_points), 1.0, GovernorSettings())
    assert demand is not None
    assert demand.accuracies == pytest.approx((0.98, 0.96, 0.94))
    known = (
        operating_points[0],
        replace(operating_points[1], accuracy=0.0),
        replace(operating_points[2], accuracy=0.7),
    )
    demand = make_power_demand(node(operating_points=known), 1.0, GovernorSettings())
    assert demand is not None
    assert demand.accuracies == pytest.approx((0.98, 0.0, 0.7))


@pytest.mark.parametrize(
    ("costs", "usable"),
    [
        ([], []),
        ([1.0], [0]),
        ([1.0, 0.6, 0.4], [0, 1, 2]),
        ([1.0, 1.2, 0.4], [0, 2]),  # fp16 on a CPU
        ([1.0, 1.0, 1.0], [0]),
        ([1.0, 0.97, 0.96], [0]),  # within the error of a measurement
        ([1.0, 0.5, 0.6], [0, 1]),
        ([0.0, 0.0], [0, 1]),
    ],
)
def test_only_clearly_cheaper_points_are_usable(costs: list[float], usable: list[int]) -> None:
    assert pareto_points(costs) == usable


@pytest.mark.parametrize("budget", [0.0, 1.0, 5.0, 20.0])
def test_a_precision_that_is_not_faster_is_never_chosen(budget: float) -> None:
    slower = replace(DETECTOR, costs=(0.42, 0.50, 0.41), accuracies=(0.9, 0.95, 1.0))
    assert best_point(slower, budget) == 0
    assert slower.min_cost == pytest.approx(3.0 * 0.42)
    operating_points = (replace(ENGINES[0], process_ms=20.0), replace(ENGINES[2], process_ms=20.0))
    assert (
        cheapest_operating_point(node(operating_points=operating_points), GovernorSettings()) == 0
    )
    assert cheapest_operating_point(node(operating_points=ENGINES), GovernorSettings()) == 2
    assert cheapest_operating_point(node(operating_points=()), GovernorSettings()) is None

"""How far load moves a node below its best operating point, and when it goes back."""

from __future__ import annotations

import itertools

import pytest

from edge_inference.core.directives.directive import DirectiveLimits
from edge_inference.engines.serving.load_adaptation import BUSY_NS, SPARE_NS, LoadAdaptation
from service_rig import FREE, ServiceRig

TIMES = [40.0, 20.0, 10.0]
SECOND = 1_000_000_000


class Bench:
    """Time and one adaptation."""

    def __init__(self) -> None:
        self.load = LoadAdaptation()
        self.now_ns = 0

    def run(self, demand_hz: float | None, seconds: int, times=TIMES) -> list[int]:  # type: ignore[no-untyped-def]
        """Return the steps after each second."""
        steps = []
        for _ in range(seconds):
            self.load.update(self.now_ns, demand_hz, times)
            self.now_ns += SECOND
            steps.append(self.load.steps)
        return steps


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_the_best_point_can_process_changes_nothing(bench: Bench) -> None:
    assert set(bench.run(20.0, 60)) == {0}


def test_a_short_peak_changes_nothing(bench: Bench) -> None:
    assert bench.run(100.0, BUSY_NS // SECOND)[-1] == 0
    assert set(bench.run(10.0, 5)) == {0}


def test_it_goes_down_one_point_at_a_time_as_far_as_needed(bench: Bench) -> None:
    steps = bench.run(45.0, 30)
    assert steps[-1] == 1
    assert steps == sorted(steps)
    assert bench.run(80.0, 30)[-1] == 2
    assert bench.run(1000.0, 30)[-1] == 2  # there is nothing cheaper


def test_it_goes_back_when_the_better_point_has_a_reserve(bench: Bench) -> None:
    bench.run(80.0, 30)
    assert bench.run(40.0, 60)[-1] == 2  # the better point would be at 0.8
    assert bench.run(30.0, SPARE_NS // SECOND)[-1] == 2
    assert bench.run(30.0, 60)[-1] == 1  # the best one would be at 1.2
    assert bench.run(10.0, 60)[-1] == 0


@pytest.mark.parametrize("demand_hz", [float(rate) for rate in range(1, 120)])
def test_a_steady_demand_never_makes_it_alternate(bench: Bench, demand_hz: float) -> None:
    for start in (1000.0, 1.0):
        bench.run(start, 60)
        steps = bench.run(demand_hz, 120)
        changes = [b - a for a, b in itertools.pairwise(steps) if a != b]
        assert len({change > 0 for change in changes}) <= 1


def test_unknown_times_and_demands_change_nothing(bench: Bench) -> None:
    assert bench.run(100.0, 30, [None, None])[-1] == 0
    bench.run(100.0, 30, TIMES)
    assert bench.run(1.0, 30, [None, None, None])[-1] == 2


def test_without_a_demand_the_best_point_serves(bench: Bench) -> None:
    bench.run(100.0, 30)
    assert bench.run(None, 1) == [0]


def test_fewer_points_than_before_are_no_error(bench: Bench) -> None:
    bench.run(100.0, 30)
    assert bench.run(100.0, 1, [40.0]) == [0]


def test_each_step_takes_its_time(bench: Bench) -> None:
    steps = bench.run(1000.0, 30)
    assert steps.count(1) >= BUSY_NS // SECOND


# In the selector ----------------------------------------------------------------------------------


def test_load_moves_below_user_and_directive(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.load(45.0)
    rig.finish()
    assert rig.precision == "fp16"
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.load(60.0)
    rig.finish()
    assert rig.precision == "int8"
    rig.selector.limit(FREE)
    for _ in range(2):
        rig.load(10.0)
    rig.finish()
    assert rig.precision == "fp32"


def test_load_counts_from_what_a_directive_allows(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.load(45.0)  # too much for fp32 only
    rig.finish()
    assert rig.precision == "fp16"


def test_load_goes_at_most_to_the_cheapest_point(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    for _ in range(2):
        rig.load(80.0)
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.finish()
    assert rig.precision == "int8"


def test_load_does_not_keep_the_node_from_a_new_point_of_the_user(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.load(80.0)
    rig.finish()
    rig.ask("fp32", "fp16", "int8")
    rig.finish()
    assert rig.precision == "fp16"  # another list, not another choice
    rig.ask("fp16", "int8")
    rig.finish()
    assert rig.precision == "fp16"
    assert rig.selector.selected()[1] == 0

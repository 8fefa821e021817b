"""The governor makes valid decisions for any values that sensors and nodes report."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from edge_inference.core.directives.directive import (
    DirectiveLevel,
    DirectiveLimits,
    OperatingPoint,
    Workload,
)
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.governor.governor import Governor
from edge_inference.governor.settings import PRESETS, GovernorSettings
from edge_inference.governor.state import SEVERITIES, GovernorDecision
from governor_cases import SECOND, START_NS, Machine, by_name, node, watts, zone

numbers = st.one_of(
    st.none(),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, 1e-300, 1e-45, 5e-324]),
    st.floats(0.0, 200.0),
    st.floats(),
)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    value = draw(numbers)
    status = (
        ReadingStatus.OK if value is not None else draw(st.sampled_from(list(ReadingStatus)[1:]))
    )
    return Reading(
        draw(st.sampled_from(["zone/a", "zone/b", "rail/a", "alert"])),
        draw(st.sampled_from([*Quantity, Quantity.TEMPERATURE, Quantity.TEMPERATURE])),
        value,
        "test",
        START_NS,
        status,
        draw(st.sampled_from([*Role, Role.CONTROL, Role.CONTROL, Role.CONTROL])),
        throttle=draw(numbers),
        critical=draw(numbers),
    )


operating_points = st.builds(
    OperatingPoint,
    model=st.sampled_from(["net", "small"]),
    precision=st.sampled_from(["fp32", "fp16", "int8", "mixed", ""]),
    accuracy=numbers,
    process_ms=numbers,
)
workloads = st.builds(
    Workload,
    node=st.sampled_from(["/a", "/b", "/c"]),
    priority=st.integers(-5, 5),
    safety_critical=st.booleans(),
    demand_hz=numbers,
    rate_hz=numbers,
    minimum_rate_hz=numbers.map(lambda each: 0.0 if each is None else each),
    batch=st.integers(0, 16),
    operating_points=st.lists(operating_points, max_size=4).map(tuple),
    operating_point=st.one_of(st.none(), st.integers(-2, 5)),
    directive_id=st.integers(0, 20),
    manager=st.just(""),
    limits=st.just(DirectiveLimits()),
    limits_source=st.just("nothing"),
    problem=st.sampled_from(["", "broken"]),
)
inputs = st.tuples(
    st.lists(readings(), max_size=5),
    st.lists(workloads, max_size=3, unique_by=lambda each: each.node),
    st.integers(-5 * SECOND, 5 * SECOND),
)
governors = st.builds(
    GovernorSettings,
    preset=st.sampled_from(PRESETS),
    limits_from=st.sampled_from(["absolute", "board"]),
    power_limit_w=st.sampled_from([0.0, 10.0]),
    minutes_to_last=st.sampled_from([0.0, 30.0]),
    allow_unmonitored=st.booleans(),
)


def absurd_inputs() -> list[tuple[list[Reading], list[Workload], int]]:
    """Return two inputs with so much power and work that squares overflow."""
    power = [Reading("rail/a", Quantity.POWER, 1e300, "test", START_NS, role=Role.TOTAL_POWER)]
    return [(power, [], 0), (power, [node("/a", rate_hz=1e300)], SECOND)]


def tiny_inputs() -> list[tuple[list[Reading], list[Workload], int]]:
    """Return inputs of a hot machine whose nodes report only tiny numbers."""
    operating_points = (
        OperatingPoint("net", "fp32", 5e-324, 5e-324),
        OperatingPoint("net", "int8", 1e-300, 1e-306),
    )
    tiny = {"rate_hz": 1e-310, "minimum_rate_hz": 1e-310, "operating_points": operating_points}
    nodes = [node("/a", demand_hz=30.0, **tiny), node("/b", demand_hz=1e-310, **tiny)]
    hot = Reading("zone/a", Quantity.TEMPERATURE, 99.0, "test", START_NS, role=Role.CONTROL)
    power = Reading("rail/a", Quantity.POWER, 1e-310, "test", START_NS, role=Role.TOTAL_POWER)
    return [([hot, power], nodes, SECOND)] * 5 + [([], nodes, 10 * SECOND)] * 2


@given(governors, st.lists(inputs, min_size=1, max_size=12))
@example(GovernorSettings(), absurd_inputs())
@example(GovernorSettings(preset="predictive"), absurd_inputs())
@example(GovernorSettings(preset="ramp"), tiny_inputs())
@example(GovernorSettings(preset="predictive", power_limit_w=10.0), tiny_inputs())
def test_decisions_are_valid_for_any_input(
    chosen: GovernorSettings,
    sequence: list[tuple[list[Reading], list[Workload], int]],
) -> None:
    governor = Governor(chosen)
    now_ns, last_ids = START_NS, dict[str, int]()
    for sensed, nodes, step_ns in sequence:
        now_ns += step_ns
        platform = PlatformState(
            "board", tuple(replace(each, stamp_ns=now_ns) for each in sensed), now_ns
        )
        decision = governor.decide(platform, nodes, now_ns)
        if "the last directives stay in force" not in decision.reason:
            _check(decision, nodes)
        for directive in decision.directives:
            assert directive.id >= last_ids.get(directive.node, 1)
            last_ids[directive.node] = directive.id


def _check(decision: GovernorDecision, nodes: list[Workload]) -> None:
    assert decision.severity in SEVERITIES
    assert decision.reason
    assert decision.headroom is None or math.isfinite(decision.headroom)
    assert decision.clock_cap is None or 0.5 <= decision.clock_cap < 1.0
    directives = by_name(decision.directives)
    assert set(directives) == {*(each.node for each in nodes), ""}
    for directive in directives.values():
        assert 0.1 <= directive.throttle_factor <= 1.0
        rate = directive.limits.max_rate_hz
        assert rate is None or 1e-3 <= rate < 1e10  # a node treats a lower one as no rate
        assert directive.limits.max_batch is None or directive.limits.max_batch >= 1
        assert (directive.level is not DirectiveLevel.FULL) or directive.limits.is_free
    for workload in nodes:
        if workload.safety_critical:
            assert directives[workload.node].level is DirectiveLevel.FULL
            assert directives[workload.node].limits.is_free


@given(
    st.sampled_from(("ramp", "predictive")),
    st.floats(0.1, 120.0),
    st.floats(0.0, 60.0),
    st.lists(st.floats(-40.0, 130.0), min_size=1, max_size=10),
)
def test_no_rate_exceeds_the_demand(
    preset: str, demand_hz: float, minimum_hz: float, temperatures: list[float]
) -> None:
    governor = Governor(GovernorSettings(preset=preset))
    simulation = Machine(governor, node(demand_hz=demand_hz, minimum_rate_hz=minimum_hz))
    for temperature in temperatures:
        decision = simulation.run(zone(temperature), watts(20.0), seconds=2)
        rate = by_name(decision.directives)["/detector"].limits.max_rate_hz
        assert rate is None or rate <= demand_hz * (1 + 1e-9)

"""What nodes run and within which limits, and the machine, as rows of a snapshot."""

from __future__ import annotations

import dataclasses

import pytest

from edge_inference.core.directives.directive import (
    DirectiveLevel,
    DirectiveLimits,
    make_release_directive,
)
from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.observe.monitor.platform_rows import OWN_SENSORS, make_own_row
from monitor_kit import DIRECTIVE, STATE, WORKLOAD, Robot


@pytest.fixture
def robot() -> Robot:
    return Robot()


def test_engines(robot: Robot) -> None:
    robot.add("/ai/inference_state", STATE)
    (engine,) = robot.see().engines
    assert (engine.model, engine.backend, engine.precision) == ("nanodet", "ort", "fp32")
    assert (engine.batch, engine.rate_hz, engine.level, engine.reason) == (None, None, "", "")
    robot.add("/ai/performance_directive", DIRECTIVE)
    robot.add("/ai/workload", WORKLOAD)
    int8 = dataclasses.replace(STATE, precision="int8", preparing="x: 10%", progress=0.1)
    robot.add("/ai/inference_state", int8)
    (engine,) = robot.see().engines
    assert (engine.precision, engine.batch, engine.rate_hz, engine.demand_hz) == (
        "int8",
        1,
        14.9,
        30.0,
    )
    assert (engine.max_rate_hz, engine.precision_ceiling) == (15.0, "int8")
    assert (engine.level, engine.reason, engine.progress) == ("reduced", "78 °C", 0.1)
    assert [each.text for each in robot.see().decisions] == [
        "nanodet, fp32 on ort",
        "reduced, at most 15 Hz, at most int8: 78 °C",
        "nanodet, int8 on ort: 78 °C",
        "preparing x",
    ]
    assert robot.see(after_s=10.0).engines == ()


def test_a_node_without_a_state(robot: Robot) -> None:
    robot.add("/ai/workload", dataclasses.replace(WORKLOAD, node="/ai/speech_recognition"))
    robot.add("/ai/performance_directive", dataclasses.replace(DIRECTIVE, node=""))
    (engine,) = robot.see().engines
    assert (engine.node, engine.model, engine.precision) == (
        "/ai/speech_recognition",
        "nanodet",
        "int8",
    )
    assert (engine.backend, engine.engine, engine.level) == ("", "", "reduced")
    unknown = dataclasses.replace(WORKLOAD, operating_point=None, node="/ai/speech_recognition")
    robot.add("/ai/workload", unknown)
    assert robot.see().engines[0].precision == ""


def test_a_manager_that_is_lost_or_leaves(robot: Robot) -> None:
    robot.add("/ai/performance_directive", DIRECTIVE)
    lost = dataclasses.replace(
        WORKLOAD, limits=DirectiveLimits(max_rate_hz=5.0), limits_source="safe_level", problem="no"
    )
    robot.add("/ai/workload", lost)
    (engine,) = robot.see().engines
    assert (engine.level, engine.reason) == ("", "the node's safe level: no")
    assert (engine.max_rate_hz, engine.problem) == (5.0, "no")
    assert robot.see().decisions[-1].text == "limits from safe level: no"
    robot.add("/ai/workload", WORKLOAD)
    robot.add("/ai/performance_directive", make_release_directive(DIRECTIVE.manager, 0))
    assert robot.see().engines[0].level == "full"
    assert robot.see().decisions[-1].text == "full: the manager has left"
    robot.add("/ai/performance_directive", dataclasses.replace(DIRECTIVE, manager="/other"))
    robot.add("/ai/performance_directive", make_release_directive(DIRECTIVE.manager, 0))
    assert robot.see().engines[0].level == "reduced"


def platform_state(**loads: float | None) -> PlatformState:
    readings = [
        Reading("zone/cpu", Quantity.TEMPERATURE, 71.5, "f", 0, role=Role.CONTROL, throttle=95.0),
        Reading("rail/in", Quantity.POWER, 12.0, "f", 0, role=Role.TOTAL_POWER),
        Reading(
            "zone/gpu", Quantity.TEMPERATURE, None, "f", 0, ReadingStatus.GATED, problem="it is off"
        ),
        Reading("alert/oc1", Quantity.STATE, 1.0, "f", 0, role=Role.THROTTLE),
        *(
            Reading(name, Quantity.SHARE, load, "f", 0)
            if load is not None
            else Reading(name, Quantity.SHARE, None, "f", 0, ReadingStatus.STALE)
            for name, load in loads.items()
        ),
    ]
    return PlatformState("orin", tuple(readings), 0, "MAXN", "")


def test_the_machine(robot: Robot) -> None:
    loads = {"cpu/load": 0.25, "memory/used": 0.5, "gpu/1/load": 0.75, "nvml/0/load": 0.125}
    report = PlatformReport(
        platform_state(**loads), 0.2, ("oc1",), DirectiveLevel.REDUCED, "hot", 0
    )
    robot.add("/ai/platform_state", report)
    platform = robot.see(after_s=0.5).platform
    assert platform is not None
    assert (platform.board, platform.mode, platform.level) == ("orin", "MAXN", "reduced")
    assert (platform.reason, platform.headroom, platform.throttling) == ("hot", 0.2, ("oc1",))
    assert (platform.power_w, platform.hottest_c, platform.hottest_name) == (12.0, 71.5, "zone/cpu")
    assert (platform.cpu_share, platform.memory_share, platform.gpu_share) == (0.25, 0.5, 0.75)
    assert (platform.source, platform.age_s) == ("/ai/platform_state", 0.5)
    texts = [each.text for each in robot.see().decisions]
    assert texts == ["reduced: hot", "the machine throttles: oc1"]
    cpu, _, gpu, *_ = platform.readings
    assert (cpu.text, cpu.unit, cpu.limit, cpu.role) == ("71.5 °C", "Cel", 95.0, "control")
    assert (gpu.value, gpu.text, gpu.status) == (None, "it is off", "gated")
    assert robot.see(after_s=10.0).platform is None


def test_what_a_machine_does_not_say_is_unknown() -> None:
    row = make_own_row(platform_state(**{"cpu/load": None}), 0.0)
    assert (row.cpu_share, row.gpu_share, row.memory_share) == (None, None, None)
    assert (row.level, row.reason, row.headroom) == ("", "", None)
    assert (row.source, row.throttling) == (OWN_SENSORS, ("alert/oc1",))
    assert make_own_row(PlatformState("x", (), 0), 0.0).power_w is None

"""The platform manager: its reports, its directives, and what nodes do without it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_inference.core.directives.directive import DirectiveLevel, DirectiveLimits
from edge_inference.core.directives.manager_election import SILENCE_NS
from edge_inference.core.reading import ReadingStatus
from edge_inference.core.runtime.health import HealthLevel as Severity
from edge_inference.core.settings import rules
from edge_inference.engines.serving import engine_opener
from edge_inference.errors import BackendError
from edge_inference.nodes import throttle_client
from edge_inference.nodes.perception import inference
from edge_inference.nodes.platform.platform_settings import PlatformManagerSettings
from edge_inference.nodes.throttle_client import ThrottleClientSettings
from manager_rig import RECORDINGS, TOPIC, FakeManager, last, manager
from perception_rig import Pipeline, offer_everything
from rig import Outside, Rig, wait_for
from rig import later as time_passes

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(autouse=True)
def fast_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish state and workload ten times a second."""
    monkeypatch.setattr(inference, "STATE_PERIOD_S", 0.1)


@pytest.fixture(autouse=True)
def all_points_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer operating points that are cheaper in theory."""
    offer_everything(monkeypatch)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advance the clock of throttle clients by some seconds at once."""
    return time_passes(monkeypatch, throttle_client)


def severity(node) -> Severity:
    return node.health.status(0).level


def test_readings_are_published_in_own_and_standard_messages(rig: Rig, outside: Outside) -> None:
    states = outside.listen("/ai/platform_state", "edge_inference/PlatformState")
    warm = outside.listen("/ai/temperature", "sensor_msgs/Temperature")
    directives = outside.listen(TOPIC, "edge_inference/PerformanceDirective")
    manager(rig)
    state = states.wait(1)[0]
    assert state["board"] == "jetson_orin"
    readings = {each["name"]: each for each in state["readings"]}
    (tj,) = [each for each in state["readings"] if each["role"] == "control"]
    assert tj["name"] == "zone/tj-thermal"
    assert 20 < tj["value"] < 70
    assert tj["unit"] == "Cel"
    gated = readings["zone/cv0-thermal"]
    assert (gated["status"], math.isnan(gated["value"])) == ("gated", True)
    assert state["power_w"] == pytest.approx(readings["rail/VDD_IN"]["value"], rel=1e-4)
    temperature = warm.wait(1)[0]
    assert temperature["header"]["frame_id"] == "zone/tj-thermal"
    assert temperature["temperature"] == pytest.approx(tj["value"])
    directive = directives.wait(1)[0]
    assert (directive["level"], directive["throttle_factor"]) == (0, 1.0)
    assert directive["max_rate_hz"] == math.inf


def test_a_machine_without_sensors_leads_to_an_error_and_the_safe_level(rig: Rig) -> None:
    directives = rig.tap(TOPIC)
    node = manager(rig, "bare_machine")
    Pipeline(rig, model="nanodet")
    wait_for(
        lambda: any(
            each.node == "/ai/inference" and each.level is DirectiveLevel.FAILSAFE
            for each in directives
        )
    )
    wait_for(lambda: severity(node) is Severity.ERROR, "ERROR")


def test_an_unmonitored_machine_may_be_allowed(rig: Rig) -> None:
    directives = rig.tap(TOPIC)
    manager(rig, "bare_machine", allow_unmonitored=True)
    assert directives.wait(3)[-1].level is DirectiveLevel.FULL


def test_limits_change_at_runtime(rig: Rig, outside: Outside) -> None:
    directives = rig.tap(TOPIC)
    Pipeline(rig, model="nanodet")
    manager(rig)
    directives.wait(1)
    assert directives[-1].level is DirectiveLevel.FULL
    values = {"throttle_c": 20.0, "max_c": 30.0}
    results = outside.set_parameters(node="/ai/platform_manager", values=values)
    assert results == [[True, ""], [True, ""]]
    wait_for(lambda: directives[-1].level is not DirectiveLevel.FULL, "a reduction")
    result = outside.set_parameters(node="/ai/platform_manager", values={"throttle_c": 90.0})[-1]
    assert result[0] is False
    assert "throttle_c" in result[1]


def test_a_second_manager_stands_by_and_takes_over(rig: Rig) -> None:
    directives = rig.tap(TOPIC)
    first = manager(rig, "orin_nx", "-r", "__node:=first")
    active = directives.wait(1)[0].manager
    second = manager(rig, "orin_nx", "-r", "__node:=second")
    wait_for(
        lambda: "is active already" in second.health.status(0).message, "the second to stand by"
    )
    assert {each.manager for each in directives} == {active}
    wait_for(lambda: severity(first) is Severity.OK, "OK")
    rig.call(lambda: first.trigger_deactivate())
    wait_for(lambda: directives[-1].manager != active, "the second to take over")


def test_a_node_acknowledges_follows_and_goes_to_its_safe_level(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0, "safe_rate_hz": 3.0}
    pipeline = Pipeline(rig, model="efficientnet_lite0", inference=settings)
    fake = FakeManager(rig)
    assert last(workloads.wait(1)).limits_source == "nothing"
    fake.send(7, max_rate_hz=2.0)
    wait_for(lambda: last(workloads).directive_id == 7)
    assert (last(workloads).limits_source, last(workloads).manager) == ("directive", "fake")
    assert last(workloads).limits == DirectiveLimits(max_rate_hz=2.0)
    wait_for(lambda: pipeline.states[-1].max_rate_hz == 2.0)
    later(590.0)
    count = len(workloads)
    assert workloads.wait(count + 2)[-1].limits_source == "directive"
    later(10.0)
    wait_for(lambda: last(workloads).limits_source == "safe_level", "the manager to be lost")
    assert last(workloads).limits == DirectiveLimits(max_rate_hz=3.0)
    fake.send(8)
    wait_for(lambda: last(workloads).directive_id == 8)
    assert last(workloads).limits.is_free


def test_images_are_dropped_upstream_and_still_count_as_demand(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    pipeline = Pipeline(rig, model="efficientnet_lite0", inference={"queue_depth": 100})
    fake = FakeManager(rig)
    fake.send(1, max_rate_hz=0.5)
    wait_for(lambda: pipeline.states[-1].max_rate_hz == 0.5)
    for _ in range(100):
        pipeline.send()
        pipeline.rig.call(lambda: None)
    wait_for(lambda: sum(pipeline.lost().values()) >= 98, "most images to be dropped")
    assert pipeline.inference.health.drop_counts() == {}
    fake.send(2)
    wait_for(lambda: pipeline.states[-1].max_rate_hz is None)
    pipeline.next(pipeline.classes)
    wait_for(lambda: (last(workloads).demand_hz or 0) > 3 * (last(workloads).rate_hz or 0) > 0)


def test_a_critical_node_refuses_and_reports_it(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"safety_critical": True})
    FakeManager(rig).send(1, max_rate_hz=1.0)
    wait_for(lambda: last(workloads).directive_id == 1)
    assert (last(workloads).limits_source, last(workloads).limits.is_free) == ("critical", True)
    assert "refused" in last(workloads).problem


def test_a_change_of_model_and_back_loses_no_frame(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    variants = {"variants": ["efficientnet_lite0:fp32"], "manager_timeout_s": 600.0}
    pipeline = Pipeline(rig, model="nanodet", inference=variants)
    fake = FakeManager(rig)
    pipeline.next(pipeline.detections)
    fake.send(1, model="efficientnet_lite0")
    wait_for(lambda: last(workloads).operating_point == 1, "the lighter model")
    wait_for(lambda: pipeline.decode.parameters.current.model == "efficientnet_lite0")
    assert pipeline.next(pipeline.classes).model == "efficientnet_lite0"
    # The parameter of the user does not change.
    assert pipeline.inference.parameters.current.model == "nanodet"
    fake.send(2)
    wait_for(lambda: last(workloads).operating_point == 0, "its own model")
    wait_for(lambda: pipeline.decode.parameters.current.model == "nanodet")
    assert pipeline.next(pipeline.detections).model == "nanodet"
    assert pipeline.lost() == {}


def test_a_failing_model_parameter_returns_to_the_previous_model(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    workloads = rig.tap("/ai/workload")
    # Exact int8 may be no faster than fp32.
    settings = {"manager_timeout_s": 600.0, "int8_mode": "fast"}
    pipeline = Pipeline(rig, model="nanodet", inference=settings)
    fake = FakeManager(rig)
    fake.send(1, precision_ceiling="int8")
    wait_for(lambda: last(workloads).operating_point == 1, "int8")
    select = engine_opener.select_backend

    def fail(request, cache):
        if request.model.name != "nanodet":
            raise BackendError("this model does not fit")
        return select(request, cache)

    monkeypatch.setattr(engine_opener, "select_backend", fail)
    values = {"model": "efficientnet_lite0"}
    assert outside.set_parameters(node="/ai/inference", values=values) == [[True, ""]]
    wait_for(lambda: pipeline.inference.parameters.current.model == "nanodet", "the old model")
    # The choice of a directive does not change the parameter of the user.
    assert pipeline.inference.parameters.current.precision == "auto"
    count = len(workloads)
    assert {each.model for each in workloads.wait(count + 1)[-1].operating_points} == {"nanodet"}
    fake.send(2)
    wait_for(lambda: last(workloads).operating_point == 0, "fp32 again")
    assert pipeline.inference.health.take_errors() == [("engine", "this model does not fit")]


def test_directives_do_not_retry_a_failed_engine(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"backend": "trt", "manager_timeout_s": 600.0}
    pipeline = Pipeline(rig, model="nanodet", inference=settings)
    fake = FakeManager(rig)

    def failures() -> str:
        return pipeline.inference.health.status(0).values["error: engine"]

    assert failures() == "1"
    for number in range(1, 6):
        fake.send(number, max_rate_hz=10.0 - number)
        wait_for(lambda n=number: last(workloads).directive_id == n)
    rig.call(pipeline.inference.trigger_deactivate)
    rig.call(pipeline.inference.trigger_cleanup)  # ends every preparation
    assert failures() == "1"


def test_a_model_without_a_required_variant_is_refused(
    rig: Rig, outside: Outside, tmp_path: Path
) -> None:
    shutil.copytree(MODELS / "efficientnet_lite0", tmp_path / "plain")
    description = tmp_path / "plain" / "model.yaml"
    lines = description.read_text().splitlines()
    kept = [line for line in lines if "calibration:" not in line]
    description.write_text("\n".join(kept).replace("name: efficientnet_lite0", "name: plain"))
    pipeline = Pipeline(rig, model="nanodet", inference={"variants": ["int8"]})
    values = {"model": str(tmp_path / "plain")}
    result = outside.set_parameters(node="/ai/inference", values=values)[-1]
    assert result[0] is False
    assert "is not available in int8" in result[1]
    assert len(pipeline.next(pipeline.detections)) > 0


def test_a_directive_with_an_unknown_model_is_reported(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0")
    FakeManager(rig).send(1, model="nothing_there")
    wait_for(lambda: last(workloads).directive_id == 1)
    assert "'nothing_there'" in last(workloads).problem


def test_an_inactive_node_misses_no_manager(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0}
    node = Pipeline(rig, model="efficientnet_lite0", inference=settings).inference
    FakeManager(rig).send(1, max_rate_hz=2.0)
    wait_for(lambda: last(workloads).directive_id == 1)
    states = rig.tap("/ai/inference_state")
    rig.call(node.trigger_deactivate)
    count = len(workloads)
    later(601.0)
    states.wait(len(states) + 3)
    assert len(workloads) == count
    rig.call(node.trigger_activate)
    assert workloads.wait(count + 1)[count].limits_source == "directive"
    later(601.0)
    wait_for(lambda: last(workloads).limits_source == "safe_level", "the manager to be lost")


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "recording"), (json.dumps({"format": "other"}), "format")],
)
def test_an_invalid_recording_prevents_configuration(
    rig: Rig, tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text(content)
    node = rig.load("PlatformManager", recording=str(file))
    wait_for(lambda: severity(node) is Severity.ERROR, "ERROR")
    assert message in node.health.status(0).message


def test_an_actuator_request_must_be_allowed(rig: Rig, outside: Outside) -> None:
    manager(rig)
    result = outside.set_parameters(node="/ai/platform_manager", values={"power_mode": "MAXN"})[-1]
    assert result[0] is False
    assert "allow it there first" in result[1]


def blocking_from(tmp_path: Path, zone: str) -> str:
    """Write a recording in which the file of a zone blocks after two seconds."""
    lines = (RECORDINGS / "orin_nx.jsonl").read_text().splitlines()
    first = json.loads(lines[1])["files"]
    kind = {"text": f"{zone}\n"}
    (folder,) = [path.rpartition("/")[0] for path, content in first.items() if content == kind]
    lines = [*lines[:2], json.dumps({"t": 2.0, "files": {f"{folder}/temp": {"blocks": True}}})]
    file = tmp_path / "blocks.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def test_a_blocking_file_affects_only_its_own_reading(rig: Rig, tmp_path: Path) -> None:
    states, directives = rig.tap("/ai/platform_state"), rig.tap(TOPIC)
    manager(rig, recording=blocking_from(tmp_path, "gpu-thermal"))
    wait_for(
        lambda: states and states[-1].state.named("zone/gpu-thermal").status is ReadingStatus.STALE,
        "the reading to be stale",
    )
    count = len(states)
    states.wait(count + 8)
    assert states[-1].state.named("zone/tj-thermal").status is ReadingStatus.OK
    assert {each.level for each in directives} == {DirectiveLevel.FULL}


def test_a_blocking_control_temperature_leads_to_the_safe_level(rig: Rig, tmp_path: Path) -> None:
    directives = rig.tap(TOPIC)
    node = manager(rig, recording=blocking_from(tmp_path, "tj-thermal"))
    wait_for(
        lambda: directives and directives[-1].level is DirectiveLevel.FAILSAFE, "the safe level"
    )
    wait_for(lambda: severity(node) is Severity.ERROR, "ERROR")


def test_a_clock_set_back_changes_no_decision(rig: Rig, outside: Outside) -> None:
    states, directives = rig.tap("/ai/platform_state"), rig.tap(TOPIC)
    manager(rig, use_sim_time=True)
    publish = outside.speak("/clock", "rosgraph_msgs/Clock")

    def is_published(seconds: int) -> bool:
        publish(clock={"sec": seconds, "nanosec": 0})  # best effort: a message may be lost
        return bool(states) and states[-1].stamp_ns == seconds * 10**9

    for seconds in (10_000, 10_001, 6_400):
        wait_for(lambda s=seconds: is_published(s), f"{seconds} s")
        states.wait(len(states) + 3)
    report = states[-1]
    ages = [report.now_ns - each.stamp_ns for each in report.state.readings if each.value]
    assert max(ages) < 5 * 10**9
    assert {each.level for each in directives} == {DirectiveLevel.FULL}


def test_the_slowest_manager_does_not_count_as_silent() -> None:
    slowest = rules(PlatformManagerSettings)["rate_hz"].minimum
    assert slowest is not None
    assert 2e9 / slowest < SILENCE_NS
    assert 2.0 / slowest < rules(ThrottleClientSettings)["manager_timeout_s"].default

"""The platform manager: what it tells, what it asks, and what happens without it."""

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
from edge_inference.engines.serving import server
from edge_inference.errors import BackendError
from edge_inference.nodes import throttle_client
from edge_inference.nodes.perception import inference
from edge_inference.nodes.platform.platform_settings import PlatformManagerSettings
from edge_inference.nodes.throttle_client import ThrottleClientSettings
from manager_rig import TOPIC, TREES, Asker, last, manager
from perception_rig import Pipeline, offer_everything
from rig import Outside, Rig, wait_for
from rig import later as time_passes

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell state and workload ten times a second."""
    monkeypatch.setattr(inference, "STATE_PERIOD_S", 0.1)


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer what is cheaper in theory."""
    offer_everything(monkeypatch)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let so many seconds pass at once for nodes that are managed."""
    return time_passes(monkeypatch, throttle_client)


def severity(node) -> Severity:
    return node.health.status(0).level


def test_what_is_sensed_is_told_in_our_message_and_in_standard_ones(
    rig: Rig, outside: Outside
) -> None:
    states = outside.listen("/ai/platform_state", "edge_inference/PlatformState")
    warm = outside.listen("/ai/temperature", "sensor_msgs/Temperature")
    asked = outside.listen(TOPIC, "edge_inference/PerformanceDirective")
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
    directive = asked.wait(1)[0]
    assert (directive["level"], directive["throttle_factor"]) == (0, 1.0)
    assert directive["max_rate_hz"] == math.inf


def test_a_battery_is_told(rig: Rig, outside: Outside) -> None:
    heard = outside.listen("/ai/battery_state", "sensor_msgs/BatteryState")
    manager(rig, "laptop")
    battery = heard.wait(1)[0]
    assert battery["present"]
    assert 0 < battery["percentage"] < 1
    assert battery["voltage"] > 3
    assert math.isnan(battery["temperature"])


def test_a_machine_without_sensors_is_an_error_and_the_safe_level(rig: Rig) -> None:
    asked = rig.tap(TOPIC)
    node = manager(rig, "bare_machine")
    Pipeline(rig, model="nanodet")
    wait_for(
        lambda: any(
            each.node == "/ai/inference" and each.level is DirectiveLevel.FAILSAFE for each in asked
        )
    )
    wait_for(lambda: severity(node) is Severity.ERROR, "ERROR")


def test_an_unmonitored_machine_may_be_allowed(rig: Rig) -> None:
    asked = rig.tap(TOPIC)
    manager(rig, "bare_machine", allow_unmonitored=True)
    assert asked.wait(3)[-1].level is DirectiveLevel.FULL


def test_limits_change_while_it_runs(rig: Rig, outside: Outside) -> None:
    asked = rig.tap(TOPIC)
    Pipeline(rig, model="nanodet")
    manager(rig)
    asked.wait(1)
    assert asked[-1].level is DirectiveLevel.FULL
    values = {"throttle_c": 20.0, "max_c": 30.0}
    told = outside.set_parameters(node="/ai/platform_manager", values=values)
    assert told == [[True, ""], [True, ""]]
    wait_for(lambda: asked[-1].level is not DirectiveLevel.FULL, "less to be asked")
    told = outside.set_parameters(node="/ai/platform_manager", values={"throttle_c": 90.0})[-1]
    assert told[0] is False
    assert "throttle_c" in told[1]


def test_of_two_managers_one_stands_by_and_takes_over(rig: Rig) -> None:
    asked = rig.tap(TOPIC)
    first = manager(rig, "orin_nx", "-r", "__node:=first")
    leader = asked.wait(1)[0].manager
    second = manager(rig, "orin_nx", "-r", "__node:=second")
    wait_for(
        lambda: "is active already" in second.health.status(0).message, "the second to stand by"
    )
    assert {each.manager for each in asked} == {leader}
    wait_for(lambda: severity(first) is Severity.OK, "OK")
    rig.call(lambda: first.trigger_deactivate())
    wait_for(lambda: asked[-1].manager != leader, "the second to take over")


def test_a_node_acknowledges_obeys_and_goes_to_its_safe_level(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0, "safe_rate_hz": 3.0}
    pipeline = Pipeline(rig, model="efficientnet_lite0", inference=settings)
    asker = Asker(rig)
    assert last(workloads.wait(1)).obeys == "nothing"
    asker.ask(7, max_rate_hz=2.0)
    wait_for(lambda: last(workloads).directive_id == 7)
    assert (last(workloads).obeys, last(workloads).manager) == ("directive", "asker")
    assert last(workloads).limits == DirectiveLimits(max_rate_hz=2.0)
    wait_for(lambda: pipeline.states[-1].max_rate_hz == 2.0)
    later(590.0)
    told = len(workloads)
    assert workloads.wait(told + 2)[-1].obeys == "directive"
    later(10.0)
    wait_for(lambda: last(workloads).obeys == "safe_level", "the manager to be missed")
    assert last(workloads).limits == DirectiveLimits(max_rate_hz=3.0)
    asker.ask(8)
    wait_for(lambda: last(workloads).directive_id == 8)
    assert last(workloads).limits.is_free


def test_images_are_given_up_first_of_all_and_still_count_as_demand(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    pipeline = Pipeline(rig, model="efficientnet_lite0", inference={"queue_depth": 100})
    asker = Asker(rig)
    asker.ask(1, max_rate_hz=0.5)
    wait_for(lambda: pipeline.states[-1].max_rate_hz == 0.5)
    for _ in range(100):
        pipeline.send()
        pipeline.rig.call(lambda: None)
    wait_for(lambda: sum(pipeline.lost().values()) >= 98, "most to be given up")
    assert pipeline.inference.health.drop_counts() == {}
    asker.ask(2)
    wait_for(lambda: pipeline.states[-1].max_rate_hz is None)
    pipeline.next(pipeline.classes)
    wait_for(lambda: (last(workloads).demand_hz or 0) > 3 * (last(workloads).rate_hz or 0) > 0)


def test_a_critical_node_refuses_and_says_so(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0", inference={"safety_critical": True})
    Asker(rig).ask(1, max_rate_hz=1.0)
    wait_for(lambda: last(workloads).directive_id == 1)
    assert (last(workloads).obeys, last(workloads).limits.is_free) == ("critical", True)
    assert "refused" in last(workloads).problem


def test_another_model_and_back_without_a_lost_frame(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    variants = {"variants": ["efficientnet_lite0:fp32"], "manager_timeout_s": 600.0}
    pipeline = Pipeline(rig, model="nanodet", inference=variants)
    asker = Asker(rig)
    pipeline.next(pipeline.detections)
    asker.ask(1, model="efficientnet_lite0")
    wait_for(lambda: last(workloads).operating_point == 1, "the lighter model")
    wait_for(lambda: pipeline.decode.parameters.current.model == "efficientnet_lite0")
    assert pipeline.next(pipeline.classes).model == "efficientnet_lite0"
    # What the user asked for stands.
    assert pipeline.inference.parameters.current.model == "nanodet"
    asker.ask(2)
    wait_for(lambda: last(workloads).operating_point == 0, "its own model")
    wait_for(lambda: pipeline.decode.parameters.current.model == "nanodet")
    assert pipeline.next(pipeline.detections).model == "nanodet"
    assert pipeline.lost() == {}


def test_a_model_of_the_user_that_fails_gives_way_to_what_the_user_had(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0, "int8_mode": "fast"}  # exact may be no faster than fp32
    pipeline = Pipeline(rig, model="nanodet", inference=settings)
    asker = Asker(rig)
    asker.ask(1, precision_ceiling="int8")
    wait_for(lambda: last(workloads).operating_point == 1, "int8")
    select = server.select_backend

    def fail(request, cache):
        if request.model.name != "nanodet":
            raise BackendError("this model does not fit")
        return select(request, cache)

    monkeypatch.setattr(server, "select_backend", fail)
    values = {"model": "efficientnet_lite0"}
    assert outside.set_parameters(node="/ai/inference", values=values) == [[True, ""]]
    wait_for(lambda: pipeline.inference.parameters.current.model == "nanodet", "the old model")
    # What a directive had chosen has not become what the user asks for.
    assert pipeline.inference.parameters.current.precision == "auto"
    told = len(workloads)
    assert {each.model for each in workloads.wait(told + 1)[-1].operating_points} == {"nanodet"}
    asker.ask(2)
    wait_for(lambda: last(workloads).operating_point == 0, "fp32 again")
    assert pipeline.inference.health.take_errors() == [("engine", "this model does not fit")]


def test_directives_do_not_try_a_failed_engine_again_and_again(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"backend": "trt", "manager_timeout_s": 600.0}
    pipeline = Pipeline(rig, model="nanodet", inference=settings)
    asker = Asker(rig)

    def failures() -> str:
        return pipeline.inference.health.status(0).values["error: engine"]

    assert failures() == "1"
    for number in range(1, 6):
        asker.ask(number, max_rate_hz=10.0 - number)
        wait_for(lambda n=number: last(workloads).directive_id == n)
    rig.call(pipeline.inference.trigger_deactivate)
    rig.call(pipeline.inference.trigger_cleanup)  # ends whatever was begun
    assert failures() == "1"


def test_a_model_that_a_variant_cannot_be_had_of_is_refused(
    rig: Rig, outside: Outside, tmp_path: Path
) -> None:
    shutil.copytree(MODELS / "efficientnet_lite0", tmp_path / "plain")
    description = tmp_path / "plain" / "model.yaml"
    lines = description.read_text().splitlines()
    kept = [line for line in lines if "calibration:" not in line]
    description.write_text("\n".join(kept).replace("name: efficientnet_lite0", "name: plain"))
    pipeline = Pipeline(rig, model="nanodet", inference={"variants": ["int8"]})
    values = {"model": str(tmp_path / "plain")}
    told = outside.set_parameters(node="/ai/inference", values=values)[-1]
    assert told[0] is False
    assert "is not available in int8" in told[1]
    assert len(pipeline.next(pipeline.detections)) > 0


def test_a_model_that_is_none_of_its_own_is_a_problem_to_show(rig: Rig) -> None:
    workloads = rig.tap("/ai/workload")
    Pipeline(rig, model="efficientnet_lite0")
    Asker(rig).ask(1, model="nothing_there")
    wait_for(lambda: last(workloads).directive_id == 1)
    assert "'nothing_there'" in last(workloads).problem


def test_a_node_that_is_not_active_misses_no_manager(rig: Rig, later) -> None:
    workloads = rig.tap("/ai/workload")
    settings = {"manager_timeout_s": 600.0}
    node = Pipeline(rig, model="efficientnet_lite0", inference=settings).inference
    Asker(rig).ask(1, max_rate_hz=2.0)
    wait_for(lambda: last(workloads).directive_id == 1)
    states = rig.tap("/ai/inference_state")
    rig.call(node.trigger_deactivate)
    told = len(workloads)
    later(601.0)
    states.wait(len(states) + 3)
    assert len(workloads) == told
    rig.call(node.trigger_activate)
    assert workloads.wait(told + 1)[told].obeys == "directive"
    later(601.0)
    wait_for(lambda: last(workloads).obeys == "safe_level", "the manager to be missed")


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "recording"), (json.dumps({"format": "other"}), "format")],
)
def test_a_recording_that_is_none_keeps_it_from_configuring(
    rig: Rig, tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text(content)
    node = rig.load("PlatformManager", recording=str(file))
    wait_for(lambda: severity(node) is Severity.ERROR, "ERROR")
    assert words in node.health.status(0).message


def test_what_is_to_be_set_must_be_allowed(rig: Rig, outside: Outside) -> None:
    manager(rig)
    told = outside.set_parameters(node="/ai/platform_manager", values={"power_mode": "MAXN"})[-1]
    assert told[0] is False
    assert "allow it there first" in told[1]


def blocking_from(tmp_path: Path, zone: str) -> str:
    """Write a recording in which a zone's file stops to answer after two seconds."""
    lines = (TREES / "orin_nx.jsonl").read_text().splitlines()
    first = json.loads(lines[1])["files"]
    kind = {"text": f"{zone}\n"}
    (folder,) = [path.rpartition("/")[0] for path, content in first.items() if content == kind]
    lines = [*lines[:2], json.dumps({"t": 2.0, "files": {f"{folder}/temp": {"blocks": True}}})]
    file = tmp_path / "blocks.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


def test_a_file_that_blocks_costs_its_own_reading_only(rig: Rig, tmp_path: Path) -> None:
    states, asked = rig.tap("/ai/platform_state"), rig.tap(TOPIC)
    manager(rig, recording=blocking_from(tmp_path, "gpu-thermal"))
    wait_for(
        lambda: states and states[-1].state.named("zone/gpu-thermal").status is ReadingStatus.STALE,
        "the reading to be stale",
    )
    count = len(states)
    states.wait(count + 8)
    assert states[-1].state.named("zone/tj-thermal").status is ReadingStatus.OK
    assert {each.level for each in asked} == {DirectiveLevel.FULL}


def test_a_temperature_that_decides_and_blocks_means_the_safe_level(
    rig: Rig, tmp_path: Path
) -> None:
    asked = rig.tap(TOPIC)
    node = manager(rig, recording=blocking_from(tmp_path, "tj-thermal"))
    wait_for(lambda: asked and asked[-1].level is DirectiveLevel.FAILSAFE, "the safe level")
    wait_for(lambda: severity(node) is Severity.ERROR, "ERROR")


def test_a_clock_set_back_changes_no_decision(rig: Rig, outside: Outside) -> None:
    states, asked = rig.tap("/ai/platform_state"), rig.tap(TOPIC)
    manager(rig, use_sim_time=True)
    tell = outside.speak("/clock", "rosgraph_msgs/Clock")

    def is_told(seconds: int) -> bool:
        tell(clock={"sec": seconds, "nanosec": 0})  # best effort: one may be lost
        return bool(states) and states[-1].stamp_ns == seconds * 10**9

    for seconds in (10_000, 10_001, 6_400):
        wait_for(lambda s=seconds: is_told(s), f"{seconds} s")
        states.wait(len(states) + 3)
    report = states[-1]
    ages = [report.now_ns - each.stamp_ns for each in report.state.readings if each.value]
    assert max(ages) < 5 * 10**9
    assert {each.level for each in asked} == {DirectiveLevel.FULL}


def test_the_slowest_manager_is_not_taken_for_a_silent_one() -> None:
    slowest = rules(PlatformManagerSettings)["rate_hz"].minimum
    assert slowest is not None
    assert 2e9 / slowest < SILENCE_NS
    assert 2.0 / slowest < rules(ThrottleClientSettings)["manager_timeout_s"].default

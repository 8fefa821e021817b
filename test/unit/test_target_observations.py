"""What is measured from the records of stages, levels and velocities; judged live in turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_inference.cli.validate.control_periods import ControlPeriods
from edge_inference.core.directives.directive import DirectiveLevel
from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.core.reading import Quantity, Reading, ReadingStatus, Role
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.errors import ConfigError
from edge_inference.observe.statistics.intervals import Interval
from edge_inference.observe.targets.live_levels import LiveLevels
from edge_inference.observe.targets.live_targets import LiveTargets
from edge_inference.observe.targets.observations import MeasuredWindow, Observations
from edge_inference.observe.targets.platform_levels import platform_levels
from edge_inference.observe.targets.target_file import Target
from edge_inference.observe.targets.verdict import Verdict
from target_kit import SECOND, read, target, timing

WINDOW = MeasuredWindow(0, 20 * SECOND)


def value(observations: Observations, wanted: Target, window: MeasuredWindow = WINDOW) -> float:
    found = observations.measure(wanted, window)
    assert isinstance(found, Interval), found
    return found.value


def reason(observations: Observations, wanted: Target, window: MeasuredWindow = WINDOW) -> str:
    found = observations.measure(wanted, window)
    assert isinstance(found, str), found
    return found


@pytest.fixture
def vision() -> Observations:
    """200 frames in 20 s: every tenth is dropped before inference, ages are 11 to 210 ms."""
    observations = Observations()
    for i in range(200):
        moment, stamp = i * SECOND // 10, i + 1
        observations.add_timing(timing("preprocess", stamp, process_ms=2.0), moment)
        if i % 10 == 9:
            drop = timing("inference", stamp, process_ms=None, age_ms=9.0, dropped="superseded")
            observations.add_timing(drop, moment + 1)
            continue
        observations.add_timing(
            timing("inference", stamp, process_ms=30.0, queue_ms=0.0, model="nanodet"), moment + 1
        )
        observations.add_timing(
            timing("decode", stamp, process_ms=1.0, age_ms=10.0 + stamp, publish_ms=0.5), moment + 2
        )
        observations.add_timing(timing("overlay", stamp, process_ms=99.0), moment + 3)
    return observations


def test_durations_and_rates(vision: Observations) -> None:
    assert value(vision, target("process_ms", "inference", "p99")) == 30.0
    assert value(vision, target("queue_ms", "inference", "mean")) == 0.0
    assert value(vision, target("rate_hz", "decode")) == pytest.approx(9.0)
    assert value(vision, target("rate_hz", "preprocess")) == pytest.approx(10.0)
    ages = [10.5 + i + 1 for i in range(200) if i % 10 != 9]
    assert value(vision, target("age_ms", "", "p50")) == pytest.approx(np.median(ages))
    assert value(vision, target("age_ms", "/ai/decode", "mean")) == pytest.approx(np.mean(ages))


def test_the_whole_way_of_a_frame_is_without_the_overlay(vision: Observations) -> None:
    assert value(vision, target("total_ms", "", "mean")) == pytest.approx(2.0 + 30.0 + 1.0)
    assert value(vision, target("capacity_hz")) == pytest.approx(1000 / 33)
    assert value(vision, target("capacity_hz", "inference")) == pytest.approx(1000 / 30)


def test_drops_and_missed_deadlines(vision: Observations) -> None:
    assert value(vision, target("drops_percent", "inference")) == pytest.approx(10.0)
    assert value(vision, target("drops_percent", "decode")) == 0.0
    # 20 of 200 frames are dropped; ages are 10.5 ms + the number of the frame.
    late = sum(10.5 + i + 1 > 150.0 for i in range(200) if i % 10 != 9)
    wanted = target("deadline_misses_percent", deadline_ms=150.0)
    assert value(vision, wanted) == pytest.approx(100 * (late + 20) / 200)
    # A drop in another branch is none for a frame that has reached the end in time.
    vision.add_timing(timing("tracker", 1, process_ms=None, dropped="superseded"), 7)
    assert value(vision, wanted) == pytest.approx(100 * (late + 20) / 200)


def test_only_the_window_counts(vision: Observations) -> None:
    half = MeasuredWindow(10 * SECOND, 20 * SECOND)
    assert value(vision, target("rate_hz", "decode"), half) == pytest.approx(9.0)
    later = MeasuredWindow(30 * SECOND, 40 * SECOND)
    # A stage that has fallen silent has a rate of 0; it has no durations.
    assert value(vision, target("rate_hz", "decode"), later) == 0.0
    assert "decode has processed no frame in 10 s" in reason(vision, target("age_ms"), later)
    assert "has received no frame" in reason(vision, target("drops_percent", "decode"), later)


def test_a_window_of_a_cut_record_begins_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Observations, "MAX_RECORDS", 50)
    observations = Observations()
    for i in range(100):
        observations.add_timing(timing("decode", i + 1), i * SECOND // 5)
    assert value(observations, target("rate_hz", "decode")) == pytest.approx(5.0, rel=0.05)


def test_unknown_stages_and_ends(vision: Observations) -> None:
    assert "did you mean 'inference'?" in reason(vision, target("queue_ms", "infrence"))
    assert "no stage has reported" in reason(Observations(), target("queue_ms", "inference"))
    vision.add_timing(timing("command"), 5)
    assert "got decode and command; name one" in reason(vision, target("age_ms"))
    other = Observations()
    other.add_timing(timing("preprocess"), 5)
    assert "none of command, decode" in reason(other, target("age_ms"))


def test_two_nodes_of_a_stage_need_a_name() -> None:
    observations = Observations()
    for node in ("/ai/inference", "/ai/second"):
        for i in range(20):
            one = timing("inference", i + 1, process_ms=4.0 if node == "/ai/second" else 8.0)
            observations.add_timing(type(one)(**{**vars(one), "node": node}), i * SECOND)
    assert "/ai/inference, /ai/second; name" in reason(observations, target("age_ms", "inference"))
    assert value(observations, target("process_ms", "/ai/second", "mean")) == 4.0


def test_an_utterance_recognized_twice_is_one() -> None:
    observations = Observations()
    for i in range(20):
        for ms in (60.0, 1.0):
            observations.add_timing(timing("speech_recognition", i + 1, process_ms=ms), i * SECOND)
    assert value(observations, target("total_ms", "speech_recognition", "p50")) == 61.0
    assert value(observations, target("process_ms", "speech_recognition", "mean")) == 30.5


def test_stamps_that_stand_still_are_said() -> None:
    observations = Observations()
    for i in range(20):
        observations.add_timing(timing("decode", 7), i * SECOND)
    assert "20 frames of decode have only 1 stamps" in reason(observations, target("total_ms"))


def test_a_clock_fault_is_said() -> None:
    observations = Observations()
    for i in range(20):
        fault = timing("decode", i, age_ms=None, clock_fault="stamp of yesterday")
        observations.add_timing(fault, i * SECOND)
    for what in (target("age_ms"), target("deadline_misses_percent", deadline_ms=5.0)):
        assert reason(observations, what) == "no frame has a known age_ms: stamp of yesterday"
    assert "does not report the time of a device" in reason(
        observations, target("device_ms", "decode")
    )


def test_only_drops() -> None:
    observations = Observations()
    for i in range(20):
        drop = timing("decode", i, process_ms=None, dropped="too_old")
        observations.add_timing(drop, i * SECOND)
    assert "dropped: 20 too_old" in reason(observations, target("process_ms", "decode"))
    assert value(observations, target("drops_percent", "decode")) == 100.0


def test_models_at_work(vision: Observations) -> None:
    assert value(vision, target("models_at_work")) == 1
    vision.add_timing(timing("speech_recognition", model="moonshine"), 5)
    vision.add_timing(timing("speech_recognition", model="idle", dropped="x"), 6)
    assert value(vision, target("models_at_work")) == 2


def test_levels_figures_and_their_reasons() -> None:
    observations = Observations()
    for i, percent in enumerate([10.0, 30.0] * 10):
        observations.add_level("cpu_percent", percent, i * SECOND)
        observations.add_level("memory_mib", 100.0 + percent, i * SECOND)
    assert value(observations, target("cpu_percent")) == pytest.approx(20.0)
    memory = observations.measure(target("memory_mib"), WINDOW)
    assert memory == Interval(130.0, 130.0, 130.0, 20, 20)
    observations.set_reason("gpu_percent", "no GPU")
    assert reason(observations, target("gpu_percent")) == "no GPU"
    assert reason(observations, target("power_w")) == "nothing here reports power_w"
    figure = Interval(0.9, 0.8, 0.95, 100, 100.0)
    observations.set_figure("streaming_agreement", figure)
    assert observations.measure(target("streaming_agreement"), WINDOW) == figure


def test_periods_count_only_while_the_robot_is_commanded_to_move() -> None:
    observations = Observations()
    moments = iter([0, 40, 80, 1000, 1040, 1090])
    periods = ControlPeriods(observations, lambda: next(moments) * 1_000_000)
    for velocity in ((0.1, 0.0), (0.0, 0.2), (0.0, 0.0), (0.0, 0.0), (0.3, 0.0), (0.3, 0.0)):
        periods.add(velocity)
    # 80 to 1000 follows zero: the node was silent. 1040 to 1090 follows motion.
    found = observations.measure(target("control_period_ms", "", "mean"), WINDOW)
    assert isinstance(found, Interval)
    assert (found.samples, found.value) == (3, pytest.approx((40 + 40 + 50) / 3))
    assert "no motion" in reason(Observations(), target("control_period_ms"))


def state(*readings: tuple[str, Quantity, float | None]) -> PlatformState:
    return PlatformState(
        "pc",
        tuple(
            Reading(name, quantity, number, "file", 0, role=Role.TOTAL_POWER)
            if quantity is Quantity.POWER
            else Reading(name, quantity, number, "file", 0)
            if number is not None
            else Reading(
                name, quantity, None, "file", 0, ReadingStatus.INVALID, problem="cannot be read"
            )
            for name, quantity, number in readings
        ),
        0,
    )


def test_levels_of_the_sensors() -> None:
    none = dict(platform_levels(state()))
    assert all(isinstance(each, str) for each in none.values())
    share = Quantity.SHARE
    found = dict(
        platform_levels(
            state(
                ("cpu/load", share, 0.25),
                ("nvml/0/load", share, 0.5),
                ("gpu/1700.gpu/load", share, 0.75),
                ("nvml/0/memory_load", share, 0.9),
                ("nvml/0/memory_used", share, 0.6),
                ("board", Quantity.POWER, 12.0),
            )
        )
    )
    assert (found["cpu_percent"], found["gpu_percent"], found["power_w"]) == (25.0, 75.0, 12.0)
    assert found["gpu_memory_percent"] == 60.0
    broken = dict(platform_levels(state(("nvml/0/load", share, None))))
    assert broken["gpu_percent"] == "nvml/0/load: cannot be read"


def statistics(pid: int, cpu_ms: float, memory_mib: float, clock_id: int = 1) -> ProcessStatistics:
    return ProcessStatistics(
        nodes=("/ai/x",),
        pid=pid,
        clock_id=clock_id,
        begin_ns=0,
        end_ns=SECOND,
        cpu_ms=cpu_ms,
        memory_mib=memory_mib,
        minor_faults=0,
        major_faults=0,
    )


def test_processes_of_a_pipeline_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    observations = Observations()
    levels = LiveLevels(observations)
    assert "process_statistics" in reason(observations, target("memory_mib"))
    for second in range(10):
        levels.add_process(statistics(1, 800.0, 100.0), second * SECOND)
        levels.add_process(statistics(2, 400.0, 50.0), second * SECOND)
    assert value(observations, target("process_cpu_percent")) == pytest.approx(30.0)
    assert value(observations, target("memory_mib")) == 150.0


def test_processes_of_two_machines_have_no_common_share() -> None:
    observations = Observations()
    levels = LiveLevels(observations)
    for _ in range(2):
        levels.add_process(statistics(1, 800.0, 100.0), 0)
        levels.add_process(statistics(1, 800.0, 100.0, clock_id=2), 0)
    assert reason(observations, target("process_cpu_percent")).endswith("several machines")
    levels.add_platform(
        PlatformReport(
            state(("cpu/load", Quantity.SHARE, 0.5)), None, (), DirectiveLevel.FULL, "", 0
        ),
        5,
    )
    assert value(observations, target("cpu_percent")) == 50.0


def test_live_targets_in_turn_within_a_budget(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "- {what: rate_hz, where: decode, min: 5}\n"
        "- {what: process_ms, where: decode, max: 1}\n"
        "- {what: process_ms, where: absent, max: 1}",
    )
    spent = iter(range(0, 10**12, 20_000_000))  # each look at the clock shows 20 ms more
    targets = LiveTargets(file, 20.0, 0, lambda: next(spent))
    for i in range(200):
        targets.add_timing(timing("decode", i + 1), i * SECOND // 10)
    not_yet = Verdict.NOT_MEASURED
    first = [each.verdict for each in targets.update(20 * SECOND)]
    assert first == [Verdict.PASS, not_yet, not_yet]
    second = targets.update(20 * SECOND)
    assert [each.verdict for each in second] == [Verdict.PASS, Verdict.FAIL, not_yet]
    assert second[2].reason == "not judged yet"
    assert "did you mean" not in targets.update(20 * SECOND)[2].reason
    # 20 s later nothing has come: the rate fails.
    assert targets.update(41 * SECOND)[0].verdict is Verdict.FAIL


def test_a_file_for_no_running_pipeline(tmp_path: Path) -> None:
    file = read(tmp_path, "- {what: age_ms, max: 1}", "live: false")
    with pytest.raises(ConfigError, match="live is false in every scenario"):
        LiveTargets(file, 10.0, 0)

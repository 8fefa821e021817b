"""Paced runs and the search for saturation, on simulated systems."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from edge_inference.errors import BackendError
from edge_inference.observe.benchmark.benchmark_report import BACK_TO_BACK
from edge_inference.observe.benchmark.frame_recorder import FrameRecorder
from edge_inference.observe.benchmark.load_runner import LoadRunner, LoadSide
from edge_inference.observe.benchmark.paced_run import PacedRun, run_at_rate
from edge_inference.observe.benchmark.resource_meter import POWER, ResourceMeter, ResourceUse
from edge_inference.observe.benchmark.saturation import (
    RateProbe,
    Saturation,
    find_saturation,
)


class SimulatedEngine:
    """An engine on a simulated clock; ``service_ms`` of each call by its number."""

    def __init__(self, service_ms: Callable[[int], float]) -> None:
        self.now_ns = 0
        self.numbers: list[int] = []
        self._service_ms = service_ms

    def infer(self, number: int) -> None:
        self.now_ns += round(self._service_ms(len(self.numbers)) * 1e6)
        self.numbers.append(number)

    def wait(self, seconds: float) -> None:
        self.now_ns += max(round(seconds * 1e9), 1)

    def run(self, rate_hz: float, seconds: float) -> PacedRun:
        return run_at_rate(self.infer, rate_hz, seconds, now_ns=lambda: self.now_ns, wait=self.wait)


def test_a_fast_engine_sees_every_frame_at_once() -> None:
    engine = SimulatedEngine(lambda _: 4.0)
    run = engine.run(100.0, 2.0)
    assert engine.numbers == list(range(200))
    assert run.latencies_ms == pytest.approx([4.0] * 200)
    assert (run.dropped, run.drop_share) == (0, 0.0)
    assert run.seconds == pytest.approx(2.0)


def test_a_slow_engine_takes_the_newest_frame() -> None:
    # Frames arrive every 10 ms and take 25 ms: it begins at 0, 25, 50 … with frames 0, 2, 5, 7 …
    engine = SimulatedEngine(lambda _: 25.0)
    run = engine.run(100.0, 0.1)
    assert engine.numbers == [0, 2, 5, 7, 9]
    assert run.latencies_ms == pytest.approx([25.0, 30.0, 25.0, 30.0, 35.0])
    assert run.dropped == 5
    assert run.seconds == pytest.approx(0.125)  # the last result is later than the last period
    assert run.offered == 10


def test_at_least_one_frame_is_offered() -> None:
    engine = SimulatedEngine(lambda _: 1.0)
    assert engine.run(10.0, 0.01).offered == 1


def test_one_slow_call_delays_the_frame_behind_it() -> None:
    engine = SimulatedEngine(lambda call: 18.0 if call == 3 else 1.0)
    run = engine.run(100.0, 0.1)
    assert run.latencies_ms[3:6] == pytest.approx([18.0, 9.0, 1.0])
    assert run.dropped == 0


def test_a_cancelled_run_ends() -> None:
    engine = SimulatedEngine(lambda _: 1.0)
    run = run_at_rate(
        engine.infer,
        10.0,
        1e6,
        now_ns=lambda: engine.now_ns,
        wait=engine.wait,
        cancelled=lambda: len(engine.numbers) == 4,
    )
    assert (len(run.latencies_ms), run.dropped) == (4, 0)


def saturate(service_ms: float, first_hz: float, **limits: float) -> Saturation:
    engine = SimulatedEngine(lambda _: service_ms)
    return find_saturation(
        lambda rate_hz, confirms: RateProbe(rate_hz, engine.run(rate_hz, 400 / rate_hz).drop_share),
        first_hz,
        **limits,
    )


@pytest.mark.parametrize("service_ms", [0.5, 3.0, 20.0, 150.0, 900.0])
@pytest.mark.parametrize("first_hz", [0.3, 10.0, 2000.0])
def test_saturation_of_a_constant_service_time(service_ms: float, first_hz: float) -> None:
    """With the newest frame only, the share 1 - 1 / (rate * service time) is dropped."""
    expected_hz = 1e3 / service_ms / 0.95
    found = saturate(service_ms, first_hz)
    assert found.rate_hz is not None
    assert found.failed_hz is not None
    # Frames are whole, so that the share of a short run is exact to one frame.
    assert found.rate_hz == pytest.approx(expected_hz, rel=0.03)
    assert found.rate_hz < found.failed_hz <= 1.021 * found.rate_hz
    assert found.limited_by == ""
    assert all(each.is_sustained for each in found.probes if each.rate_hz <= found.rate_hz)


def test_a_search_that_ends_at_its_highest_rate_says_so() -> None:
    found = saturate(0.1, 50.0, max_hz=300.0)
    assert (found.rate_hz, found.failed_hz) == (300.0, None)
    assert "300 Hz" in found.limited_by
    # The search, and once more to confirm the result.
    assert [each.rate_hz for each in found.probes].count(300.0) == 2


def test_up_to_5_percent_of_dropped_frames_are_sustained() -> None:
    assert RateProbe(30.0, 0.05).is_sustained
    assert not RateProbe(30.0, 0.0501).is_sustained
    assert not RateProbe(30.0, 0.0, "the source").is_sustained


def test_nothing_is_sustained() -> None:
    found = saturate(60_000.0, 1.0, min_hz=0.5)
    assert found.rate_hz is None
    assert found.failed_hz == 0.5


def test_a_source_that_is_too_slow_is_named() -> None:
    def probe(rate_hz: float, _: bool) -> RateProbe:
        return RateProbe(rate_hz, 0.0, "the source, which gave 30 Hz only" if rate_hz > 30 else "")

    found = find_saturation(probe, 10.0)
    assert found.rate_hz == pytest.approx(30.0, rel=0.03)
    assert "source" in found.limited_by


def test_a_lucky_short_probe_is_not_believed() -> None:
    """Short probes see no drops up to 100 Hz, long ones up to 80 Hz."""

    def probe(rate_hz: float, confirms: bool) -> RateProbe:
        return RateProbe(rate_hz, 0.2 if rate_hz > (80.0 if confirms else 100.0) else 0.0)

    found = find_saturation(probe, 40.0)
    assert found.rate_hz == pytest.approx(80.0, rel=0.05)
    assert found.rate_hz <= 80.0


def test_a_random_system_ends_the_search() -> None:
    state = 12345

    def probe(rate_hz: float, _: bool) -> RateProbe:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return RateProbe(rate_hz, 0.1 if state % 2 else 0.0)

    found = find_saturation(probe, 5.0)
    assert len(found.probes) <= 60
    assert found.rate_hz is None or found.probes[-1] == RateProbe(found.rate_hz, 0.0)


def test_short_probes_that_are_far_too_lucky_are_not_believed_again() -> None:
    """Short probes see no drops up to 100 Hz, long ones up to 30 Hz."""
    lengths: list[bool] = []

    def probe(rate_hz: float, confirms: bool) -> RateProbe:
        lengths.append(confirms)
        return RateProbe(rate_hz, 0.2 if rate_hz > (30.0 if confirms else 100.0) else 0.0)

    found = find_saturation(probe, 40.0)
    assert found.rate_hz == pytest.approx(30.0, rel=0.03)
    assert found.rate_hz <= 30.0
    first_long = lengths.index(True)
    assert all(lengths[first_long:])
    assert not any(lengths[:first_long])


def test_what_only_short_probes_sustain_is_no_rate() -> None:
    found = find_saturation(
        lambda rate_hz, confirms: RateProbe(rate_hz, 0.2 if confirms else 0.0), 8.0, min_hz=2.0
    )
    assert (found.rate_hz, found.failed_hz) == (None, 2.0)
    assert min(each.rate_hz for each in found.probes) == 2.0


def test_the_least_rate_that_is_not_confirmed_is_no_rate() -> None:
    found = find_saturation(
        lambda rate_hz, confirms: RateProbe(rate_hz, 0.2 if confirms else 0.0),
        2.0,
        min_hz=2.0,
        max_hz=2.0,
    )
    assert found.rate_hz is None
    assert {each.rate_hz for each in found.probes} == {2.0}


def test_a_rate_that_is_never_confirmed_is_no_rate() -> None:
    seen: set[float] = set()

    def probe(rate_hz: float, _: bool) -> RateProbe:
        is_new = rate_hz not in seen
        seen.add(rate_hz)
        return RateProbe(rate_hz, 0.0 if is_new and rate_hz < 50.0 else 0.2)

    found = find_saturation(probe, 40.0)
    assert found.rate_hz is None
    assert "no rate was sustained twice in 60 probes" in found.limited_by


def test_a_cancelled_search_has_no_result() -> None:
    probes: list[float] = []

    def probe(rate_hz: float, _: bool) -> RateProbe:
        probes.append(rate_hz)
        return RateProbe(rate_hz, 0.0)

    found = find_saturation(probe, 1.0, cancelled=lambda: len(probes) == 3)
    assert found.rate_hz is None
    assert len(found.probes) == 3
    assert "interrupted" in found.limited_by


def make_sides(*services_s: float) -> list[LoadSide]:
    def burn(seconds: float) -> Callable[[int], None]:
        def call(number: int) -> None:
            end_s = time.thread_time() + seconds
            while time.thread_time() < end_s:
                pass

        return call

    return [
        LoadSide(f"side {index}", burn(each), frames=2) for index, each in enumerate(services_s)
    ]


class FakeMeter(ResourceMeter):
    """Each measurement takes 2 s of CPU time and 3 s at 10 W."""

    def start(self) -> None:
        pass

    def stop(self) -> ResourceUse:
        return ResourceUse(3.0, 2.0, 100.0, {POWER: 10.0}, 4)


def test_back_to_back_calls_are_paired_and_interleaved() -> None:
    sides = make_sides(0.002, 0.004)
    calls: list[str] = []
    for side in sides:
        inner = side.call
        side.call = lambda number, side=side, inner=inner: (calls.append(side.name), inner(number))
    one, two = LoadRunner(sides, 0.05, ResourceMeter()).back_to_back()
    assert len(one.samples_ms) == len(two.samples_ms) >= 1
    assert (one.load, one.frames) == (BACK_TO_BACK, 2 * len(one.samples_ms))
    assert sorted(calls[-2:]) == ["side 0", "side 1"]
    assert min(one.samples_ms) >= 2.0
    assert one.cpu_ms_per_frame >= 1.0  # of two frames in each call
    assert one.memory_mib is None
    assert "share memory" in one.not_measured["memory_mib"]


def test_energy_and_cpu_time_of_a_rate() -> None:
    (side,) = make_sides(0.0)
    (result,) = LoadRunner([side], 0.1, FakeMeter()).at_rate(200.0)
    # 200 frames per second are 100 calls of two frames; 10 calls in 0.1 s.
    assert result.frames + result.dropped == 20
    assert result.energy_j_per_frame == pytest.approx(30.0 / result.frames)
    assert result.cpu_ms_per_frame == pytest.approx(2000.0 / result.frames)
    assert result.memory_mib == 100.0
    assert result.not_measured == {}


def test_no_power_sensor_is_said() -> None:
    (side,) = make_sides(0.0)
    (result,) = LoadRunner([side], 0.05, ResourceMeter(lambda: {})).at_rate(100.0)
    assert result.energy_j_per_frame is None
    assert result.not_measured["energy_j_per_frame"] == "not measured: no power sensor"


def test_a_side_that_fails_leaves_the_others() -> None:
    def fail(number: int) -> None:
        raise BackendError("out of memory")

    sides = [*make_sides(0.0), LoadSide("bad", fail)]
    runner = LoadRunner(sides, 0.02, ResourceMeter())
    results = [*runner.back_to_back(), *runner.at_rate(100.0)]
    assert {each.candidate for each in results} == {"side 0"}
    assert sides[1].failure == "out of memory"


def test_a_failing_sensor_does_not_end_a_measurement() -> None:
    def sense() -> dict[str, float]:
        raise RuntimeError("unplugged")

    meter = ResourceMeter(sense, period_s=0.001)
    meter.start()
    deadline_s = time.monotonic() + 10
    while meter._thread is not None and meter._thread.is_alive() and time.monotonic() < deadline_s:
        pass
    use = meter.stop()
    assert (use.sensors, use.energy_j) == ({}, None)
    assert "unplugged" in use.problem


def test_frames_of_a_window() -> None:
    now_ns = 0
    recorder = FrameRecorder(lambda: now_ns)
    for stamp, frame_ms, result_ms in ((1, 0, 5), (2, 10, None), (3, 20, 32), (4, 30, 33)):
        now_ns = frame_ms * 10**6
        recorder.add_frame(stamp)
        if result_ms is not None:
            now_ns = result_ms * 10**6
            recorder.add_result(stamp)
            recorder.add_result(stamp)
    recorder.add_result(99)
    window = recorder.window(5 * 10**6, 30 * 10**6)
    assert window.latencies_ms == (12.0,)
    assert (window.dropped, window.offered) == (1, 2)
    assert recorder.has_newer_result(30 * 10**6)
    assert not recorder.has_newer_result(31 * 10**6)

"""Monitoring of a clock by the steady clock: problems, and ages of stamps."""

from __future__ import annotations

import pytest

from edge_inference.speech.planning.clock_monitor import ClockMonitor

S = 1_000_000_000
LOOK = S // 20


class Machine:
    """A steady clock, and a monitored clock with updates every 50 ms."""

    def __init__(self) -> None:
        self.steady_ns = 7 * S
        self.monitor = ClockMonitor(lambda: self.steady_ns)

    def run(self, from_ns: int, seconds: float, pace: float = 1.0) -> int:
        """Run the clock from a value; return its time at the end."""
        begun_ns = self.steady_ns
        while self.steady_ns - begun_ns < seconds * S:
            self.steady_ns += LOOK
            now_ns = from_ns + int((self.steady_ns - begun_ns) * pace)
            self.monitor.update(now_ns)
        return now_ns


@pytest.mark.parametrize("pace", [0.2, 1.0, 10.0])
def test_running_clock_has_no_problem(pace: float) -> None:
    machine = Machine()
    machine.run(0, 5, pace)
    assert machine.monitor.problem(0.25) == ""


@pytest.mark.parametrize("pace", [0.0, 1e-9, 0.02, 0.09])
def test_slow_clock_is_a_problem(pace: float) -> None:
    machine = Machine()
    now_ns = machine.run(0, 3)
    machine.run(now_ns, 2.5, pace)
    assert machine.monitor.problem(0.25).startswith("The clock ")


def test_new_monitor_reports_no_problem_at_once() -> None:
    assert Machine().monitor.problem(0.25) == ""


def test_clock_that_never_advances_is_a_problem() -> None:
    machine = Machine()
    machine.run(0, 0.5, 0.0)
    assert "stood still for 0.4" in machine.monitor.problem(0.25)


@pytest.mark.parametrize("pace", [0.2, 1.0, 3.0])
def test_age_of_a_stamp_is_in_steady_time(pace: float) -> None:
    machine = Machine()
    now_ns = machine.run(0, 20, pace)
    assert machine.monitor.steady_age_s(now_ns - int(2 * S * pace)) == pytest.approx(2, abs=0.06)


def test_stamp_during_a_standstill_has_the_highest_possible_age() -> None:
    machine = Machine()
    now_ns = machine.run(0, 5)
    machine.run(now_ns, 30, 0.0)
    assert machine.monitor.steady_age_s(now_ns) == pytest.approx(30, abs=0.1)
    later_ns = machine.run(now_ns, 1)
    assert machine.monitor.steady_age_s(now_ns) == pytest.approx(31, abs=0.1)
    assert machine.monitor.steady_age_s(later_ns) == pytest.approx(0, abs=0.1)


def test_stamp_in_the_future_has_no_age() -> None:
    machine = Machine()
    assert machine.monitor.steady_age_s(0) == 0
    now_ns = machine.run(0, 5)
    assert machine.monitor.steady_age_s(now_ns + 1) == 0


def test_ages_restart_after_a_jump_back() -> None:
    machine = Machine()
    machine.run(100 * S, 5)
    now_ns = machine.run(0, 1)
    assert machine.monitor.steady_age_s(now_ns) == pytest.approx(0, abs=0.1)
    assert machine.monitor.problem(0.25) == ""


def test_history_is_bounded() -> None:
    machine = Machine()
    machine.run(0, 200)
    assert machine.monitor.steady_age_s(0) == pytest.approx(60, abs=0.1)

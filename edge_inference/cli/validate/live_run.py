"""Measures targets on a pipeline that runs in other processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge_inference.cli.sessions.live_session import LiveSession, open_live
from edge_inference.cli.signals import Interrupt
from edge_inference.cli.validate.resource_levels import MachineLevels
from edge_inference.cli.validate.scenario_runs import RunOutcome, ShowPhase
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.thread_times import clock_id
from edge_inference.errors import EdgeInferenceError
from edge_inference.observe.targets.live_levels import LiveLevels
from edge_inference.observe.targets.observations import MeasuredWindow, Observations
from edge_inference.observe.targets.target_file import Scenario

_PERIOD_S = 0.5


def observe_live(
    namespace: str,
    scenarios: tuple[Scenario, ...],
    seconds: float,
    show: ShowPhase,
    on_message: Callable[[str], None],
    interrupted: Interrupt,
) -> RunOutcome:
    """Observe the running pipeline for ``seconds``, or until a signal comes."""
    outcome = RunOutcome(scenarios)
    observations = Observations()
    try:
        show("looking for a running pipeline", None)
        with open_live("validate --live", namespace, on_message) as session:
            window = _observe(session, observations, seconds, show, interrupted)
    except EdgeInferenceError as error:
        outcome.failure = str(error)
        return outcome
    outcome.measured_s = window.seconds
    records = observations.within(window)
    outcome.found = {
        each.name: [records.measure(target) for target in each.targets] for each in scenarios
    }
    return outcome


def _observe(
    session: LiveSession,
    observations: Observations,
    seconds: float,
    show: ShowPhase,
    interrupted: Interrupt,
) -> MeasuredWindow:
    levels = LiveLevels(observations)
    is_here = threading.Event()

    def add_timing(timing: StageTiming) -> None:
        observations.add_timing(timing, time.monotonic_ns())
        if timing.clock_id == clock_id() != 0:
            is_here.set()

    session.tap("stage_timing", add_timing)
    session.tap("process_statistics", lambda each: levels.add_process(each, time.monotonic_ns()))
    session.tap("platform_state", lambda each: levels.add_platform(each, time.monotonic_ns()))
    with MachineLevels(observations) as machine:
        session.start()
        begin_ns = time.monotonic_ns()
        passed_s = 0.0
        while passed_s < seconds and not interrupted.wait(min(_PERIOD_S, seconds - passed_s)):
            # Without a platform manager this process reads the sensors, if it is on the machine.
            if is_here.is_set() and not levels.has_sensors:
                machine.read()
            passed_s = (time.monotonic_ns() - begin_ns) / 1e9
            show(f"measuring, {passed_s:.0f} of {seconds:.0f} s", min(passed_s / seconds, 1.0))
        return MeasuredWindow(begin_ns, time.monotonic_ns())

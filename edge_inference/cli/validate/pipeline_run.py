"""One run of a pipeline in this process: first result, warm-up, measurement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge_inference.cli.error_reporter import ErrorReporter
from edge_inference.cli.sessions.pipeline_session import PipelineSession
from edge_inference.cli.signals import Interrupt
from edge_inference.cli.validate.control_periods import ControlPeriods
from edge_inference.cli.validate.resource_levels import MachineLevels, OwnProcessLevels
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.errors import ConfigError
from edge_inference.observe.targets.observations import MeasuredWindow, Observations

#: A slow machine reads the files of the models from a slow disk.
_FIRST_RESULT_S = 60.0
_PERIOD_S = 0.5
#: The run ends so long after the end of the source.
_DRAIN_S = 2.0
_SOURCES = ("media_source", "audio_source")


class PipelineRun:
    """Puts everything that a pipeline reports into observations; call ``measure`` once.

    ``show`` gets the phase and its completed fraction, ``on_message`` the errors of the nodes.
    """

    def __init__(
        self,
        session: PipelineSession,
        observations: Observations,
        show: Callable[[str, float | None], None],
        on_message: Callable[[str], None],
        interrupted: Interrupt,
    ) -> None:
        self._session = session
        self._observations = observations
        self._show = show
        self._on_message = on_message
        self._interrupted = interrupted
        self._errors = ErrorReporter(on_message)
        self._first = threading.Event()
        self._last_ns = 0
        session.tap("stage_timing", self._add_timing)
        commands = [each for each in session.pipeline.components if each.name == "command"]
        if commands:
            periods = ControlPeriods(observations)
            session.tap(commands[0].remappings["/cmd_vel"], periods.add)
        else:
            observations.set_reason(
                "control_period_ms", "the pipeline has no node that commands velocities"
            )

    def measure(self, warmup_s: float, seconds: float) -> MeasuredWindow:
        """Run the pipeline; return the window of the measurement.

        It ends early with the source, or after a signal. Raises ConfigError where nothing could be
        measured.
        """
        with MachineLevels(self._observations) as machine:
            own = OwnProcessLevels(self._observations)

            def read() -> None:
                machine.read()
                own.read()
                self._errors.report(self._session.nodes)

            self._session.start()
            self._wait("waiting for the first result", _FIRST_RESULT_S, self._first.is_set, read)
            if not self._first.is_set() and not self._interrupted.is_set():
                raise ConfigError(
                    f"no stage has processed a frame within {_FIRST_RESULT_S:.0f} s; check the "
                    "source"
                )
            self._wait("warm-up", warmup_s, self._has_ended, read)
            begin_ns = time.monotonic_ns()
            self._wait("measuring", seconds, self._has_ended, read)
            window = MeasuredWindow(begin_ns, self._end_ns())
        if window.seconds <= 0:
            raise ConfigError(
                "interrupted"
                if self._interrupted.is_set()
                else f"the source ended within the warm-up of {warmup_s:g} s; expected a longer "
                "one, or loop: true among the arguments"
            )
        if not self._interrupted.is_set() and window.seconds < seconds - _PERIOD_S:
            self._on_message(
                f"the source ended after {window.seconds:.1f} of {seconds:g} s; set loop: true "
                "among the arguments, or fewer seconds"
            )
        return window

    def _end_ns(self) -> int:
        """Return the end of the measurement; silence after the end of the source is no part."""
        return self._last_ns if self._has_ended() else time.monotonic_ns()

    def _add_timing(self, timing: StageTiming) -> None:
        self._last_ns = time.monotonic_ns()
        self._observations.add_timing(timing, self._last_ns)
        if not timing.dropped:
            self._first.set()

    def _has_ended(self) -> bool:
        """Tell whether the source has ended, and the last frames have passed."""
        nodes = self._session.nodes
        sources = [nodes[name] for name in _SOURCES if name in nodes]
        if not sources or not all(each.finished.is_set() for each in sources):
            return False
        return (time.monotonic_ns() - self._last_ns) / 1e9 > _DRAIN_S

    def _wait(
        self, phase: str, seconds: float, ended: Callable[[], bool], read: Callable[[], None]
    ) -> None:
        """Read the levels periodically until the time is over, it has ended, or a signal comes."""
        begin_s = time.monotonic()
        while not ended():
            passed_s = time.monotonic() - begin_s
            fraction = min(passed_s / seconds, 1.0) if phase == "measuring" else 0.0
            self._show(f"{phase}, {passed_s:.0f} of {seconds:.0f} s", fraction)
            if passed_s >= seconds or self._interrupted.wait(min(_PERIOD_S, seconds - passed_s)):
                return
            read()

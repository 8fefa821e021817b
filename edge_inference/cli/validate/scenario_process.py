"""The process of one run: loads the pipeline, measures, and answers in lines of JSON.

The parent writes the request in one line on stdin and keeps it open: its end ends this process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from edge_inference.cli.error_reporter import ErrorReporter
from edge_inference.cli.exit_status import EXIT_FAILED
from edge_inference.cli.sessions.pipeline_session import PipelineSession, open_pipeline
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.cli.validate.control_periods import ControlPeriods
from edge_inference.cli.validate.resource_levels import MachineLevels, OwnProcessLevels
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.observe.targets.observations import Observations, Window
from edge_inference.observe.targets.target_file import Target

#: The first result needs the models, which a slow machine reads from a slow disk.
_FIRST_RESULT_S = 60.0
_PERIOD_S = 0.5
#: The run ends so long after the end of the source.
_DRAIN_S = 2.0
_SOURCES = ("media_source", "audio_source")
#: A trial must not drive a robot in the same ROS domain.
_TRIAL_TOPIC = "ai/cmd_vel"
#: The arguments whose value "sample" stands for the shipped recordings of commands.
_VOICE_SOURCES = (("voice", "source"), ("robot", "audio_source"))
_VOICE_PIPELINES = ("voice", "robot")


@dataclass(frozen=True)
class RunRequest:
    """What to run, and the targets that are measured on it, by scenario."""

    targets: Mapping[str, Sequence[Target]]
    pipeline: str
    source: str
    seconds: float
    warmup_s: float
    arguments: Mapping[str, str]

    @classmethod
    def from_json(cls, text: str) -> RunRequest:
        """Read what ``to_json`` has written."""
        values = json.loads(text)
        targets = {
            name: [Target(**each) for each in given] for name, given in values["targets"].items()
        }
        return cls(**{**values, "targets": targets})

    def to_json(self) -> str:
        """Return the request in one line."""
        return json.dumps(asdict(self))

    def pipeline_arguments(self) -> dict[str, str]:
        """Return the arguments of the pipeline; raises ConfigError without the sample."""
        arguments = dict(self.arguments)
        if self.source:
            arguments["source"] = self.source
        for pipeline, name in _VOICE_SOURCES:
            if self.pipeline == pipeline and arguments.get(name) == "sample":
                from edge_inference.cli.voice.run import sample_folder

                arguments[name] = str(sample_folder())
        if self.pipeline in _VOICE_PIPELINES:
            arguments.setdefault("cmd_vel_topic", _TRIAL_TOPIC)
        return arguments


def main() -> int:
    """Read the request from stdin, run it, write the answers on stdout."""
    # Libraries write on stdout too; only this process's answers may reach the parent.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    request = RunRequest.from_json(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer = _Answers(answers)
    try:
        with catch_signals() as interrupted:
            _run(request, answer, interrupted)
    except EdgeInferenceError as error:
        answer.send(failure=str(error))
        return EXIT_FAILED
    return 0


def _end_with_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(EXIT_FAILED)


class _Answers:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, **values: Any) -> None:
        with self._lock:
            self._stream.write(json.dumps(values) + "\n")
            self._stream.flush()


def _run(request: RunRequest, answer: _Answers, interrupted: Interrupt) -> None:
    answer.send(phase="loading", fraction=0.0)
    with open_pipeline(
        "validate",
        request.pipeline,
        request.pipeline_arguments(),
        lambda text: answer.send(message=text),
    ) as session:
        run = _ScenarioRun(request, session, answer, interrupted)
        window = run.measure()
        answer.send(measured_s=window.seconds, found=run.found(window))


class _ScenarioRun:
    def __init__(
        self,
        request: RunRequest,
        session: PipelineSession,
        answer: _Answers,
        interrupted: Interrupt,
    ) -> None:
        self._request = request
        self._session = session
        self._answer = answer
        self._interrupted = interrupted
        self._observations = Observations()
        self._first = threading.Event()
        self._last_ns = 0
        self._errors = ErrorReporter(lambda text: answer.send(message=text))

    def measure(self) -> Window:
        """Run the pipeline and return the window of the measurement."""
        session = self._session
        session.tap("stage_timing", self._add_timing)
        commands = [each for each in session.pipeline.components if each.name == "command"]
        if commands:
            periods = ControlPeriods(self._observations)
            session.tap(commands[0].remappings["/cmd_vel"], periods.add)
        else:
            self._observations.set_reason(
                "control_period_ms", "the pipeline has no node that commands velocities"
            )
        with MachineLevels(self._observations) as machine:
            own = OwnProcessLevels(self._observations)

            def read() -> None:
                machine.read()
                own.read()
                self._errors.report(session.nodes)

            session.start()
            self._wait("first result", _FIRST_RESULT_S, self._first.is_set, read)
            if not self._first.is_set() and not self._interrupted.is_set():
                self._errors.report(session.nodes)
                raise ConfigError(
                    f"no stage has processed a frame within {_FIRST_RESULT_S:.0f} s; "
                    "check the source"
                )
            self._wait("warm-up", self._request.warmup_s, self._has_ended, read)
            begin_ns = time.monotonic_ns()
            self._wait("measuring", self._request.seconds, self._has_ended, read)
            # Silence after the end of the source is no part of the run.
            end_ns = self._last_ns if self._has_ended() else time.monotonic_ns()
        if end_ns <= begin_ns:
            raise ConfigError(
                f"the source ended within the warm-up of {self._request.warmup_s:g} s; expected a "
                "longer one, or loop: true among the arguments"
                if not self._interrupted.is_set()
                else "interrupted"
            )
        return Window(begin_ns, end_ns)

    def found(self, window: Window) -> dict[str, list[Any]]:
        """Return what was measured for each target of each scenario: an interval or a text."""

        def as_json(target: Target) -> Any:
            found = self._observations.measure(target, window)
            return found if isinstance(found, str) else asdict(found)

        return {
            name: [as_json(target) for target in targets]
            for name, targets in self._request.targets.items()
        }

    def _add_timing(self, timing: Any) -> None:
        self._last_ns = time.monotonic_ns()
        self._observations.add_timing(timing, self._last_ns)
        if not timing.dropped:
            self._first.set()

    def _has_ended(self) -> bool:
        """Tell whether the source has ended, and the last frames have passed."""
        sources = [self._session.nodes[name] for name in _SOURCES if name in self._session.nodes]
        idle_s = (time.monotonic_ns() - self._last_ns) / 1e9
        return (
            bool(sources)
            and all(each.finished.is_set() for each in sources)
            and (idle_s > _DRAIN_S)
        )

    def _wait(
        self, phase: str, seconds: float, ended: Callable[[], bool], read: Callable[[], None]
    ) -> None:
        """Read the levels periodically until the time is over, it has ended, or a signal comes."""
        begin_s = time.monotonic()
        while not ended():
            passed_s = time.monotonic() - begin_s
            self._answer.send(
                phase=f"{phase}, {passed_s:.0f} of {seconds:.0f} s",
                fraction=min(passed_s / seconds, 1.0) if phase == "measuring" else 0.0,
            )
            if passed_s >= seconds or self._interrupted.wait(min(_PERIOD_S, seconds - passed_s)):
                return
            read()

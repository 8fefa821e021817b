"""The process of one run: loads the pipeline, measures, and answers in lines of JSON.

The parent writes the request in one line on stdin and keeps it open: its end ends this process.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from edge_inference.cli.exit_status import EXIT_FAILED
from edge_inference.cli.sessions.pipeline_session import open_pipeline
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.cli.validate.pipeline_run import PipelineRun
from edge_inference.cli.validate.streaming_run import MEASURE, measure_agreement
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import EdgeInferenceError
from edge_inference.observe.targets.intervals import Interval
from edge_inference.observe.targets.observations import MeasuredWindow, Observations
from edge_inference.observe.targets.target_file import Target

#: A trial must not drive a robot in the same ROS domain.
_VELOCITY, _TRIAL_TOPIC = "cmd_vel_topic", "ai/cmd_vel"
#: The arguments whose value "sample" stands for the shipped recordings of commands.
_VOICE_SOURCES = (("voice", "source"), ("robot", "audio_source"))


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

    def measures(self, what: str) -> bool:
        """Tell whether a target is about ``what``."""
        return any(each.what == what for targets in self.targets.values() for each in targets)

    def pipeline_arguments(self) -> dict[str, str]:
        """Return the arguments of the pipeline.

        Raises ConfigError for an unknown pipeline, or without the sample.
        """
        arguments = dict(self.arguments)
        if self.source:
            arguments["source"] = self.source
        for pipeline, name in _VOICE_SOURCES:
            if self.pipeline == pipeline and arguments.get(name) == "sample":
                from edge_inference.cli.voice.run import sample_folder

                arguments[name] = str(sample_folder())
        if any(each.name == _VELOCITY for each in load_pipeline(self.pipeline).arguments):
            arguments.setdefault(_VELOCITY, _TRIAL_TOPIC)
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

    def phase(self, text: str, fraction: float | None = None) -> None:
        self.send(phase=text, fraction=fraction)

    def message(self, text: str) -> None:
        self.send(message=text)


def _run(request: RunRequest, answer: _Answers, interrupted: Interrupt) -> None:
    observations = Observations()
    window = _measure(request, observations, answer, interrupted)
    if request.measures(MEASURE):
        # Nodes are in reference cycles; the next pipeline must not find their names in the graph.
        gc.collect()
        found = measure_agreement(
            request.pipeline,
            request.pipeline_arguments(),
            answer.phase,
            answer.message,
            interrupted.is_set,
        )
        if isinstance(found, str):
            observations.set_reason(MEASURE, found)
        else:
            observations.set_figure(MEASURE, found)
    records = observations.within(window)
    answer.send(
        measured_s=window.seconds,
        found={
            name: [_as_json(records.measure(target)) for target in targets]
            for name, targets in request.targets.items()
        },
    )


def _measure(
    request: RunRequest, observations: Observations, answer: _Answers, interrupted: Interrupt
) -> MeasuredWindow:
    answer.phase("loading", 0.0)
    arguments = request.pipeline_arguments()
    with open_pipeline("validate", request.pipeline, arguments, answer.message) as session:
        run = PipelineRun(session, observations, answer.phase, answer.message, interrupted)
        return run.measure(request.warmup_s, request.seconds)


def _as_json(found: Interval | str) -> Any:
    return found if isinstance(found, str) else asdict(found)

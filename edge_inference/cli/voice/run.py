"""``edge-inference run voice``: the voice pipeline in this process, observed on its bus."""

from __future__ import annotations

import queue
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.cli.error_reporter import ErrorReporter
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError
from edge_inference.cli.sessions.pipeline_session import PipelineSession, open_pipeline
from edge_inference.cli.sessions.run_recording import (
    RunRecording,
    check_recording,
    load_recorded,
)
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.cli.voice.audio_devices import Player, check_input
from edge_inference.cli.voice.expectations import EXPECTED_FILE, load_expectation
from edge_inference.cli.voice.file_matching import (
    FileMatcher,
    SentenceChecker,
    read_file_lengths,
    select_sentences,
)
from edge_inference.cli.voice.live_state import AudioLevelMeter, VoiceLiveState
from edge_inference.cli.voice.output import VoiceJson, VoiceLines, VoiceOutput, VoiceSummary
from edge_inference.cli.voice.utterance_latency import UtteranceLatency
from edge_inference.cli.voice.utterance_tracker import STAGES, Utterance, UtteranceTracker, Velocity
from edge_inference.cli.voice.velocity_record import VelocityRecord
from edge_inference.composition.pipeline import share_folder
from edge_inference.errors import ConfigError
from edge_inference.speech.audio.sources import open_audio_input

SAMPLE = "sample"
BESIDE = "beside"

_DEVICE = "device"
#: Relative to the namespace of the pipeline.
_TRIAL_TOPIC = "ai/cmd_vel"
_TICK_S = 0.05
#: Only one pipeline may publish on these topics.
_EXCLUSIVE_TOPICS = ("audio", "action_plan")
#: A run ends so long after the end of the source and of the last utterance.
_IDLE_TIMEOUT_S = 2.0
#: The same while an utterance is still processed, because a machine may be slow.
_MAX_PROCESSING_S = 20.0


@dataclass(frozen=True)
class VoiceOptions:
    """Options of the command; an empty text stands for the default of the pipeline.

    ``expect`` is the file with the expected results, BESIDE for the one beside the audio files.
    """

    source: str
    model: str = ""
    model_path: str = ""
    mode: str = ""
    grammar: str = ""
    limits: str = ""
    cmd_vel: str | None = None
    deadline_ms: float | None = None
    pause: float | None = None
    expect: str = ""
    play: bool = False
    mcap: str | None = None
    json: bool = False
    verbose: bool = False

    @property
    def path(self) -> str:
        """The source; for the sample its path."""
        return str(sample_folder()) if self.source == SAMPLE else self.source

    @property
    def is_device(self) -> bool:
        """Whether the source is a device."""
        return self.source.partition(":")[0] == _DEVICE

    def check(self) -> None:
        """Check the options.

        Raises UsageError for options that exclude each other, SourceError for a source without
        audio, and ConfigError for a missing file with expected results, or for a recording that
        cannot be written.
        """
        check_recording(self.mcap, with_images=False)
        if self.is_device:
            for name in ("play", "expect"):
                if getattr(self, name):
                    raise UsageError(f"--{name}: expected audio files as source, got a device")
            check_input(self.source.partition(":")[2])
        else:
            open_audio_input(self.path).close()
            if self.expect and not self.expected_file().exists():
                raise ConfigError(
                    f"--expect: {self.expected_file()}: no such file; name another one, or write "
                    "it as docs/voice.md shows"
                )

    def expected_file(self) -> Path:
        """Return the file with the expected results."""
        if self.expect != BESIDE:
            return Path(self.expect)
        source = Path(self.path).expanduser()
        return (source if source.is_dir() else source.parent) / EXPECTED_FILE

    def pipeline_arguments(self, pause_s: float | None = None) -> dict[str, str]:
        """Return the arguments of the pipeline ``voice``."""
        values = {
            "source": self.path,
            "pause_s": "" if pause_s is None else str(float(pause_s)),
            "deadline_ms": "" if self.deadline_ms is None else str(float(self.deadline_ms)),
            "model": self.model,
            "model_path": self.model_path,
            "mode": self.mode,
            "grammar": self.grammar,
            "limits": self.limits,
            # A trial must not drive a robot in the same ROS domain.
            "cmd_vel_topic": self.cmd_vel or _TRIAL_TOPIC,
        }
        return {name: value for name, value in values.items() if value}


def sample_folder() -> Path:
    """Return the folder of the shipped sentences, spoken by a person and synthesised."""
    return share_folder() / "models" / "moonshine_tiny" / "golden"


def run_voice(options: VoiceOptions) -> int:
    """Run until the source ends or Ctrl-C; return the exit code.

    0: at least one utterance was understood; with ``expect`` all results are as expected. 1: not
    so. 130 or 143: interrupted before. Raises EdgeInferenceError if the pipeline does not start.
    """
    options.check()
    record = VelocityRecord()
    pause_s, checks, matcher = options.pause, None, None
    if options.expect:
        file = options.expected_file()
        expectation = load_expectation(file)
        pause_s = expectation.pause_s if pause_s is None else pause_s
        files = read_file_lengths(options.path, pause_s)
        names = [name for name, _ in files]
        matcher = FileMatcher([length_s for _, length_s in files])
        checks = SentenceChecker(
            select_sentences(options.path, names, expectation, file), matcher, record
        )
    output = _output(options)
    with open_pipeline(
        "run voice",
        "voice",
        options.pipeline_arguments(pause_s),
        output.problem,
        verbose=options.verbose,
        is_loaded=False,
    ) as session:
        run = _VoiceRun(session, options, output, record, checks, matcher)
        try:
            run.load()
            session.start()
            with catch_signals() as interrupted:
                return run.watch(interrupted)
        finally:
            run.close()


class _VoiceRun:
    """One run; make it before the pipeline is loaded, so that it receives everything."""

    def __init__(
        self,
        session: PipelineSession,
        options: VoiceOptions,
        output: VoiceOutput,
        record: VelocityRecord,
        checks: SentenceChecker | None,
        matcher: FileMatcher | None,
    ) -> None:
        self._session = session
        self._record = record
        self._checks = checks
        self._output = output
        self._errors = ErrorReporter(self._output.problem)
        self._finished: queue.Queue[Utterance] = queue.Queue()
        self._count = self._planned = self._understood = 0
        self._times: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self._velocities = 0
        self._max_velocity = (0.0, 0.0)
        (command,) = (each for each in session.pipeline.components if each.name == "command")
        self._velocity_topic = command.remappings["/cmd_vel"]
        self._clock = session.container.node.get_clock()
        self._tracker = UtteranceTracker(self._now_ns, self._finished.put)
        self._latency = UtteranceLatency(options.deadline_ms)
        self._meter = AudioLevelMeter()
        self._cleanup = ExitStack()
        self._mcap = options.mcap
        self._recording: RunRecording | None = None
        self._subscribe(matcher)
        if options.play:
            player = Player(self._errors.add)
            self._cleanup.callback(player.close)
            self._cleanup.callback(session.tap("audio", player.play))

    def _subscribe(self, matcher: FileMatcher | None) -> None:
        tracker, meter = self._tracker, self._meter
        taps: list[tuple[str, Callable[[Any], None]]] = [
            ("audio", meter.add_audio),
            ("speech", meter.add_speech),
            ("speech", tracker.add_speech),
            ("transcript", meter.add_transcript),
            ("transcript", tracker.add_transcript),
            ("intent", tracker.add_intents),
            ("action_plan", tracker.add_plan),
            ("command_feedback", tracker.add_feedback),
            ("stage_timing", self._latency.add),
            (self._velocity_topic, self._add_velocity),
        ]
        if matcher is not None:
            taps.append(("audio", matcher.add))
        for topic, callback in taps:
            self._session.tap(topic, callback)

    def load(self) -> None:
        """Load the nodes; raises ConfigError with the message of each node that fails."""
        self._recording = load_recorded(self._session, self._mcap, False, self._errors.add)
        if self._recording is not None:
            self._cleanup.callback(self._recording.finish)

    def watch(self, interrupted: Interrupt) -> int:
        """Report utterances until the end; return the exit code."""
        source = self._session.nodes["audio_source"]
        last_s = time.monotonic()
        while not interrupted.is_set():
            try:
                self._report(self._finished.get(timeout=_TICK_S))
                last_s = time.monotonic()
            except queue.Empty:
                self._report_other_publishers()
                self._errors.report(self._session.nodes)
            self._output.progress(self._read_state)
            if not source.finished.is_set() or self._is_still_moving():
                last_s = time.monotonic()
            elif time.monotonic() - last_s > self._idle_timeout_s():
                break
        self._tracker.finish_open()
        while not self._finished.empty():
            self._report(self._finished.get())
        return self._end(interrupted)

    def close(self) -> None:
        """End the output and the playback."""
        self._output.finish(None)
        self._cleanup.close()

    def _report_other_publishers(self) -> None:
        """Report another voice pipeline on the same topics: its audio and plans arrive here too."""
        for name in _EXCLUSIVE_TOPICS:
            topic = f"{self._session.namespace}/{name}"
            if self._session.container.node.count_publishers(topic) > 1:
                self._errors.add(
                    f"another process publishes on {topic} too: each pipeline receives the audio "
                    "of the other and executes its plans, on a robot as well; end one of them, or "
                    "set another ROS_DOMAIN_ID for this one"
                )

    def _now_ns(self) -> int:
        return int(self._clock.now().nanoseconds)

    def _add_velocity(self, velocity: Velocity) -> None:
        moment_ns = self._now_ns()
        if any(velocity):
            self._velocities += 1
            linear, angular = self._max_velocity
            self._max_velocity = max(linear, abs(velocity[0])), max(angular, abs(velocity[1]))
        self._tracker.add_velocity(velocity, moment_ns)
        self._record.add(moment_ns, velocity)

    def _idle_timeout_s(self) -> float:
        return _MAX_PROCESSING_S if self._tracker.is_busy else _IDLE_TIMEOUT_S

    def _is_still_moving(self) -> bool:
        """Tell whether a check waits for the end of a motion."""
        return self._checks is not None and any(self._record.velocity)

    def _read_state(self) -> VoiceLiveState:
        level_dbfs, is_speech, partial = self._meter.snapshot()
        return VoiceLiveState(
            level_dbfs, is_speech, partial, self._tracker.latest(), self._record.velocity
        )

    def _report(self, utterance: Utterance) -> None:
        utterance.timeline = self._latency.find(utterance.stamp_ns, "command" in utterance.after_ms)
        self._count += 1
        self._planned += utterance.plan is not None
        self._understood += utterance.spoken is not None
        for stage, ms in utterance.after_ms.items():
            self._times[stage].append(ms)
        if self._checks is None:
            self._output.utterance(utterance)
            return
        for checked in self._checks.add(utterance):
            self._output.checked(checked)

    def _end(self, interrupted: Interrupt) -> int:
        checks = self._checks
        if checks is not None and not interrupted():
            for checked in checks.finish():
                self._output.checked(checked)
        recording = None if self._recording is None else self._recording.finish()
        self._errors.report(self._session.nodes)
        p50 = {stage: statistics.median(found) for stage, found in self._times.items() if found}
        summary = VoiceSummary(
            self._count,
            self._planned,
            self._velocities,
            self._velocity_topic,
            self._max_velocity,
            p50,
            self._latency.report(),
            recording=recording,
        )
        if checks is not None:
            summary = summary.with_checks(checks.right, checks.expected)
        self._output.finish(summary)
        if interrupted() and (checks is not None or not self._understood):
            return interrupted.exit_code
        good = self._understood > 0 if checks is None else not checks.is_wrong
        is_recorded = recording is None or not recording.problem
        return 0 if good and is_recorded else EXIT_FAILED


def _output(options: VoiceOptions) -> VoiceOutput:
    if options.json:
        return VoiceJson(sys.stdout)
    if sys.stdout.isatty() and not options.verbose:
        from edge_inference.cli.progress import can_redraw

        if can_redraw(sys.stdout):
            from edge_inference.cli.voice.live_view import VoiceLiveView

            return VoiceLiveView(sys.stdout, options.source)
    return VoiceLines(sys.stdout)

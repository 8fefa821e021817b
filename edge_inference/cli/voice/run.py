"""``edge-inference run voice``: the voice pipeline in this process, listened to on its bus."""

from __future__ import annotations

import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.cli.container import open_container
from edge_inference.cli.error_reporter import ErrorReporter
from edge_inference.cli.exit_status import EXIT_FAILED, UsageError
from edge_inference.cli.run_namespace import NamespacedPipeline, unique_namespace
from edge_inference.cli.signals import Interrupt, catch_signals
from edge_inference.cli.voice.expectations import EXPECTED_FILE, load_expectation
from edge_inference.cli.voice.file_matching import (
    FileMatcher,
    SentenceChecker,
    read_file_lengths,
    select_sentences,
)
from edge_inference.cli.voice.live_state import AudioLevelMeter, VoiceLiveState
from edge_inference.cli.voice.output import VoiceJson, VoiceLines, VoiceOutput, VoiceSummary
from edge_inference.cli.voice.sound_devices import Player, check_input
from edge_inference.cli.voice.utterance_tracker import STAGES, Utterance, UtteranceTracker, Velocity
from edge_inference.cli.voice.velocity_record import VelocityRecord
from edge_inference.composition.pipeline import load_pipeline, share_folder
from edge_inference.errors import ConfigError
from edge_inference.speech.audio.sources import open_audio_input

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

SAMPLE = "sample"
BESIDE = "beside"

_DEVICE = "device"
#: Below the pipeline's namespace.
_SHOWN_TOPIC = "ai/cmd_vel"
_TICK_S = 0.05
#: Only one pipeline at a time publishes on these.
_ONE_VOICE = ("audio", "action_plan")
#: After the end of the source so long nothing may be left on its way.
_LAST_WORD_S = 2.0
#: While words are still worked on, so much longer: a slow machine is not one that has failed.
_LONGEST_WORK_S = 20.0


@dataclass(frozen=True)
class VoiceOptions:
    """What to run the voice pipeline with; empty texts leave the pipeline's own defaults.

    ``expect`` is a file that says what should be understood, BESIDE for the one beside the sound.
    """

    source: str
    model: str = ""
    model_path: str = ""
    mode: str = ""
    grammar: str = ""
    limits: str = ""
    cmd_vel: str | None = None
    pause: float | None = None
    expect: str = ""
    play: bool = False
    json: bool = False
    verbose: bool = False

    @property
    def path(self) -> str:
        """The source, the sample by its path."""
        return str(sample_folder()) if self.source == SAMPLE else self.source

    @property
    def is_device(self) -> bool:
        """Whether the source is a device."""
        return self.source.partition(":")[0] == _DEVICE

    def check(self) -> None:
        """Raise UsageError for what does not go together, SourceError where no sound can come.

        ConfigError where what is expected stands nowhere.
        """
        if self.is_device:
            for name in ("play", "expect"):
                if getattr(self, name):
                    raise UsageError(f"--{name} goes with sound files, not with a device")
            check_input(self.source.partition(":")[2])
        else:
            open_audio_input(self.path).close()
            if self.expect and not self.expected_file().exists():
                raise ConfigError(
                    f"--expect: {self.expected_file()}: no such file; name one, or write it as "
                    "docs/voice.md shows"
                )

    def expected_file(self) -> Path:
        """Return the file that says what should be understood."""
        if self.expect != BESIDE:
            return Path(self.expect)
        source = Path(self.path).expanduser()
        return (source if source.is_dir() else source.parent) / EXPECTED_FILE

    def pipeline_arguments(self, pause_s: float | None = None) -> dict[str, str]:
        """Return the arguments of the pipeline ``voice``."""
        values = {
            "source": self.path,
            "pause_s": "" if pause_s is None else str(float(pause_s)),
            "model": self.model,
            "model_path": self.model_path,
            "mode": self.mode,
            "grammar": self.grammar,
            "limits": self.limits,
            # A trial at a desk must not drive a robot that listens in the same domain.
            "cmd_vel_topic": self.cmd_vel or _SHOWN_TOPIC,
        }
        return {name: value for name, value in values.items() if value}


def sample_folder() -> Path:
    """Return the folder of sentences that are shipped: a person's and synthesised ones."""
    return share_folder() / "models" / "moonshine_tiny" / "golden"


def run_voice(options: VoiceOptions) -> int:
    """Run until the source ends or Ctrl-C; return the exit code.

    0: something was said and understood, with ``expect`` everything as expected. 1: it was not.
    130 or 143: interrupted before. Raises EdgeInferenceError for anything that keeps the pipeline
    from starting.
    """
    options.check()
    record = VelocityRecord()
    pause_s, checks, heard = options.pause, None, None
    if options.expect:
        file = options.expected_file()
        expectation = load_expectation(file)
        pause_s = expectation.pause_s if pause_s is None else pause_s
        files = read_file_lengths(options.path, pause_s)
        names = [name for name, _ in files]
        heard = FileMatcher([length_s for _, length_s in files])
        checks = SentenceChecker(
            select_sentences(options.path, names, expectation, file), heard, record
        )
    pipeline = load_pipeline("voice")
    arguments = options.pipeline_arguments(pause_s)
    output = _output(options)
    with (
        open_container("run voice", options.verbose) as container,
        unique_namespace(
            container, pipeline, arguments, "speech_recognition", output.problem
        ) as place,
    ):
        run = _Run(container, place, options, output, record, checks, heard)
        try:
            run.start(place.components)
            with catch_signals() as interrupted:
                return run.watch(interrupted)
        finally:
            run.close()


class _Run:
    def __init__(
        self,
        container: Container,
        place: NamespacedPipeline,
        options: VoiceOptions,
        output: VoiceOutput,
        record: VelocityRecord,
        checks: SentenceChecker | None,
        heard: FileMatcher | None,
    ) -> None:
        from edge_inference.composition.bus import Bus

        self._container = container
        self._record = record
        self._checks = checks
        self._output = output
        self._namespace = place.namespace
        self._problems = ErrorReporter(self._output.problem)
        self._nodes: dict[str, Any] = {}
        self._finished: queue.Queue[Utterance] = queue.Queue()
        self._count = self._planned = self._understood = 0
        self._times: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self._velocities = 0
        self._fastest = (0.0, 0.0)
        (command,) = (each for each in place.components if each.name == "command")
        self._moves = command.remappings["/cmd_vel"]
        self._clock = container.node.get_clock()
        self._book = UtteranceTracker(self._now_ns, self._finished.put)
        self._ear = AudioLevelMeter()
        self._cleanup = ExitStack()
        self._listen(Bus.of(container.context), heard)
        if options.play:
            player = Player(self._problems.add)
            self._cleanup.callback(player.close)
            audio = f"{place.namespace}/audio"
            self._cleanup.callback(Bus.of(container.context).tap(audio, player.play))
        self._spinner = threading.Thread(target=container.spin, name="executor", daemon=True)

    def _listen(self, bus: Any, heard: FileMatcher | None) -> None:
        book, ear = self._book, self._ear
        taps: list[tuple[str, Callable[[Any], None]]] = [
            ("audio", ear.add_audio),
            ("speech", ear.add_speech),
            ("speech", book.add_speech),
            ("transcript", ear.add_transcript),
            ("transcript", book.add_transcript),
            ("intent", book.add_intent),
            ("action_plan", book.add_plan),
            ("command_feedback", book.add_feedback),
        ]
        if heard is not None:
            taps.append(("audio", heard.add))
        for topic, callback in taps:
            self._cleanup.callback(bus.tap(f"{self._namespace}/{topic}", callback))
        self._cleanup.callback(bus.tap(self._moves, self._add_velocity))

    def start(self, components: Any) -> None:
        """Load the nodes; raises ConfigError with what each that fails says."""
        from edge_inference.composition.process import load_components

        failures = load_components(self._container, components)
        said_by: dict[str, list[str]] = {}
        for loaded in self._container.components:
            self._nodes[loaded.node.get_name()] = loaded.node
            if loaded.failure:
                reasons = [text for _, text in loaded.node.health.take_errors()]
                reason = (reasons or [loaded.failure])[-1]
                said_by.setdefault(reason, []).append(loaded.node.get_name())
        # Several nodes read the same file, and find the same in it.
        failures += [f"{', '.join(names)}: {reason}" for reason, names in said_by.items()]
        if failures:
            raise ConfigError("; ".join(failures))
        self._spinner.start()

    def watch(self, interrupted: Interrupt) -> int:
        """Show utterances until the end; return the exit code."""
        source = self._nodes["audio_source"]
        last_s = time.monotonic()
        while not interrupted.is_set():
            try:
                self._show(self._finished.get(timeout=_TICK_S))
                last_s = time.monotonic()
            except queue.Empty:
                self._mention_company()
                self._problems.report(self._nodes)
            self._output.progress(self._look)
            if not source.finished.is_set() or self._is_still_moving():
                last_s = time.monotonic()
            elif time.monotonic() - last_s > self._patience_s():
                break
        self._book.give_up()
        while not self._finished.empty():
            self._show(self._finished.get())
        return self._end(interrupted)

    def close(self) -> None:
        """Stop listening, and the executor."""
        self._output.finish(None)
        self._cleanup.close()
        self._container.stop()
        if self._spinner.is_alive():
            self._spinner.join()

    def _mention_company(self) -> None:
        """Tell of another voice pipeline: what it hears and plans comes to this one too."""
        for name in _ONE_VOICE:
            topic = f"{self._namespace}/{name}"
            if self._container.node.count_publishers(topic) > 1:
                self._problems.add(
                    f"somebody else publishes on {topic} too: each run hears the other's sound and "
                    "does what the other plans, a robot as well; end one of them, or set another "
                    "ROS_DOMAIN_ID for this one"
                )

    def _now_ns(self) -> int:
        return int(self._clock.now().nanoseconds)

    def _add_velocity(self, velocity: Velocity) -> None:
        moment_ns = self._now_ns()
        if any(velocity):
            self._velocities += 1
            ahead, left = self._fastest
            self._fastest = max(ahead, abs(velocity[0])), max(left, abs(velocity[1]))
        self._book.add_velocity(velocity, moment_ns)
        self._record.add(moment_ns, velocity)

    def _patience_s(self) -> float:
        return _LONGEST_WORK_S if self._book.is_at_work else _LAST_WORD_S

    def _is_still_moving(self) -> bool:
        """Tell whether a check still waits for what the last sentence moves."""
        return self._checks is not None and any(self._record.velocity)

    def _look(self) -> VoiceLiveState:
        level_dbfs, is_speech, partial = self._ear.look()
        return VoiceLiveState(
            level_dbfs, is_speech, partial, self._book.latest(), self._record.velocity
        )

    def _show(self, utterance: Utterance) -> None:
        self._count += 1
        self._planned += utterance.plan is not None
        self._understood += utterance.intent is not None
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
        self._problems.report(self._nodes)
        p50 = {stage: statistics.median(found) for stage, found in self._times.items() if found}
        summary = VoiceSummary(
            self._count, self._planned, self._velocities, self._moves, self._fastest, p50
        )
        if checks is not None:
            summary = summary.with_checks(checks.right, checks.expected)
        self._output.finish(summary)
        if interrupted() and (checks is not None or not self._understood):
            return interrupted.exit_code
        good = self._understood > 0 if checks is None else not checks.is_wrong
        return 0 if good else EXIT_FAILED


def _output(options: VoiceOptions) -> VoiceOutput:
    if options.json:
        return VoiceJson(sys.stdout)
    if sys.stdout.isatty() and not options.verbose:
        from edge_inference.cli.progress import can_redraw

        if can_redraw(sys.stdout):
            from edge_inference.cli.voice.live_view import VoiceLiveView

            return VoiceLiveView(sys.stdout, options.source)
    return VoiceLines(sys.stdout)

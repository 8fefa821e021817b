"""``edge-inference run voice``: the voice pipeline in this process, listened to on its bus."""

from __future__ import annotations

import json
import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_inference.composition.pipeline import load_pipeline, share_folder
from edge_inference.errors import ConfigError
from edge_inference.tools.hosting import hosted_here
from edge_inference.tools.interruption import interruptible
from edge_inference.tools.problems import Problems
from edge_inference.tools.usage import EXIT_FAILED, EXIT_INTERRUPTED
from edge_inference.tools.voice_book import STAGES, Utterance, Velocity, VoiceBook

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

SAMPLE = "sample"

_SHOWN_TOPIC = "/ai/cmd_vel"
_TICK_S = 0.1
#: After the end of the source so long nothing may be left on its way.
_LAST_WORD_S = 2.0


@dataclass(frozen=True)
class VoiceOptions:
    """What to run the voice pipeline with; empty texts leave the pipeline's own defaults."""

    source: str
    model: str = ""
    model_path: str = ""
    mode: str = ""
    grammar: str = ""
    limits: str = ""
    cmd_vel: str | None = None
    json: bool = False
    verbose: bool = False

    def pipeline_arguments(self) -> dict[str, str]:
        """Return the arguments of the pipeline ``voice``."""
        values = {
            "source": str(sample()) if self.source == SAMPLE else self.source,
            "model": self.model,
            "model_path": self.model_path,
            "mode": self.mode,
            "grammar": self.grammar,
            "limits": self.limits,
            # A trial at a desk must not drive a robot that listens in the same domain.
            "cmd_vel_topic": self.cmd_vel or _SHOWN_TOPIC,
        }
        return {name: value for name, value in values.items() if value}


def sample() -> Path:
    """Return the recording that is shipped: a person says "go forward ten meters"."""
    folder = share_folder() / "models" / "moonshine_tiny" / "golden"
    return folder / "go_forward_ten_meters.wav"


def run_voice(options: VoiceOptions) -> int:
    """Run until the source ends or Ctrl-C; return the exit code.

    0: something was said and understood. 1: nothing was. 130: interrupted before. Raises
    EdgeInferenceError for anything that keeps the pipeline from starting.
    """
    components = load_pipeline("voice").components(options.pipeline_arguments())
    with interruptible() as interrupted, hosted_here("run voice", options.verbose) as container:
        run = _Run(container, options)
        try:
            run.start(components)
            return run.watch(interrupted)
        finally:
            run.close()


class _Run:
    def __init__(self, container: Container, options: VoiceOptions) -> None:
        from edge_inference.composition.bus import Bus

        self._container = container
        self._options = options
        self._finished: queue.Queue[Utterance] = queue.Queue()
        clock = container.node.get_clock()
        self._book = VoiceBook(lambda: int(clock.now().nanoseconds), self._finished.put)
        bus, book = Bus.of(container.context), self._book
        self._velocities: list[Velocity] = []
        self._moves = options.cmd_vel or _SHOWN_TOPIC
        taps: dict[str, Callable[[Any], None]] = {
            "/ai/speech": book.add_speech,
            "/ai/transcript": book.add_transcript,
            "/ai/intent": book.add_intent,
            "/ai/action_plan": book.add_plan,
            self._moves: self._add_velocity,
        }
        self._leave = [bus.tap(topic, callback) for topic, callback in taps.items()]
        self._problems = Problems(lambda text: print(f"edge-inference: {text}", file=sys.stderr))
        self._nodes: dict[str, Any] = {}
        self._utterances: list[Utterance] = []
        self._spinner = threading.Thread(target=container.spin, name="executor", daemon=True)

    def start(self, components: Any) -> None:
        """Load the nodes; raises ConfigError with what each that fails says."""
        from edge_inference.composition.process import load_all

        failures = load_all(self._container, components)
        for loaded in self._container.components:
            self._nodes[loaded.node.get_name()] = loaded.node
            if loaded.failure:
                reasons = [text for _, text in loaded.node.health.take_errors()]
                failures.append(f"{loaded.node.get_name()}: {(reasons or [loaded.failure])[-1]}")
        if failures:
            raise ConfigError("; ".join(failures))
        self._spinner.start()

    def watch(self, interrupted: threading.Event) -> int:
        """Show utterances until the end; return the exit code."""
        source = self._nodes["audio_source"]
        last_s = time.monotonic()
        while not interrupted.is_set():
            try:
                self._show(self._finished.get(timeout=_TICK_S))
                last_s = time.monotonic()
            except queue.Empty:
                self._problems.report(self._nodes)
            if not source.finished.is_set():
                last_s = time.monotonic()
            elif time.monotonic() - last_s > _LAST_WORD_S:
                break
        self._book.give_up()
        while not self._finished.empty():
            self._show(self._finished.get())
        self._sum_up()
        if any(utterance.intent is not None for utterance in self._utterances):
            return 0
        return EXIT_INTERRUPTED if interrupted.is_set() else EXIT_FAILED

    def close(self) -> None:
        """Stop listening, and the executor."""
        for leave in self._leave:
            leave()
        self._container.stop()
        if self._spinner.is_alive():
            self._spinner.join()

    def _add_velocity(self, velocity: Velocity) -> None:
        if any(velocity):
            self._velocities.append(velocity)
        self._book.add_velocity(velocity)

    def _show(self, utterance: Utterance) -> None:
        self._utterances.append(utterance)
        print(json.dumps(utterance.as_json()) if self._options.json else utterance.words())
        sys.stdout.flush()

    def _sum_up(self) -> None:
        times = {
            stage: [each.after_ms[stage] for each in self._utterances if stage in each.after_ms]
            for stage in STAGES
        }
        p50 = {stage: statistics.median(found) for stage, found in times.items() if found}
        understood = sum(1 for each in self._utterances if each.plan is not None)
        if self._options.json:
            summary = {
                "utterances": len(self._utterances),
                "planned": understood,
                "velocities": len(self._velocities),
                "p50_ms": p50,
            }
            print(json.dumps({"summary": summary}))
            return
        words = ", ".join(f"{stage} {ms:.0f}" for stage, ms in p50.items())
        print(f"{len(self._utterances)} utterances, {understood} with a plan", end="")
        print(f"; p50 in ms after the last word: {words}" if words else "")
        if self._velocities:
            ahead = max(abs(linear) for linear, _ in self._velocities)
            left = max(abs(angular) for _, angular in self._velocities)
            count = len(self._velocities)
            print(f"{count} velocities on {self._moves}, up to {ahead:g} m/s and {left:g} rad/s")

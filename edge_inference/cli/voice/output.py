"""The output of a voice run: lines or JSON."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

from edge_inference.cli.exit_status import print_error
from edge_inference.cli.sessions.latency_format import (
    count_lost,
    format_timeline,
    percentiles_to_json,
    sort_stages,
    stage_to_json,
)
from edge_inference.cli.voice.expectations import SentenceResult
from edge_inference.cli.voice.live_state import VoiceLiveState
from edge_inference.cli.voice.utterance_latency import LAST_STAGE
from edge_inference.cli.voice.utterance_tracker import Utterance
from edge_inference.core.runtime.latency import EndToEndLatency, LatencyReport, Percentiles
from edge_inference.observe.clock_faults import count_clock_faults, describe_clock_faults
from edge_inference.observe.recording.mcap_recorder import RecordingSummary


@dataclass(frozen=True)
class VoiceSummary:
    """The totals of a voice run. ``max_velocity`` is the highest m/s and rad/s on ``topic``.

    ``latency`` covers the whole run. ``right`` is the number of sentences out of ``expected`` with
    the expected result; None without expectations.
    """

    utterances: int
    planned: int
    velocities: int
    topic: str
    max_velocity: tuple[float, float] = (0.0, 0.0)
    p50_ms: dict[str, float] = field(default_factory=dict)
    latency: LatencyReport | None = None
    right: int | None = None
    expected: int = 0
    recording: RecordingSummary | None = None

    def with_checks(self, right: int, expected: int) -> VoiceSummary:
        """Return it with the number of sentences with the expected result."""
        return replace(self, right=right, expected=expected)

    def as_json(self) -> dict[str, Any]:
        """Return the object of the last line of ``--json``."""
        summary: dict[str, Any] = {
            "utterances": self.utterances,
            "planned": self.planned,
            "velocities": self.velocities,
            "p50_ms": self.p50_ms,
            **self._latency_to_json(),
        }
        if self.right is not None:
            summary |= {"right": self.right, "expected": self.expected}
        if self.recording is not None:
            summary["recording"] = self.recording.to_json()
        return {"summary": summary}

    def _latency_to_json(self) -> dict[str, Any]:
        latency = self.latency
        if latency is None:
            return {}
        end = self._end
        return {
            "stages": {stage.stage: stage_to_json(stage) for stage in sort_stages(latency)},
            "end_to_end_ms": percentiles_to_json(Percentiles() if end is None else end.recent),
            "lost": count_lost(latency.stages),
            "deadline_ms": latency.deadline_ms,
            "deadline_misses": 0 if end is None else end.deadline_misses,
            "clock_faults": count_clock_faults(latency),
        }

    @property
    def _end(self) -> EndToEndLatency | None:
        ends = () if self.latency is None else self.latency.ends
        return next((end for end in ends if end.stage == LAST_STAGE), None)

    def _latency_lines(self) -> list[str]:
        """Return where the time goes, for each stage after the last word."""
        latency = self.latency
        if latency is None:
            return []
        found = []
        for stage in sort_stages(latency):
            parts = {
                kind: part.p50
                for kind, part in (
                    ("transport", stage.transport),
                    ("queue", stage.queue),
                    ("process", stage.process),
                )
                if part.p50 is not None
            }
            times = ", ".join(f"{kind} {ms:.1f}" for kind, ms in parts.items())
            found.append(f"  {stage.stage:<19}{times or 'no times'}")
        if found:
            found.insert(0, "p50 in ms of each stage:")
        if (end := self._end) is not None and end.recent.p50 is not None:
            figures = end.recent
            found.append(
                f"last word to command: p50 {figures.p50:.0f}, p95 {figures.p95:.0f}, "
                f"p99 {figures.p99:.0f}, max {figures.max:.0f} ms in {end.count} commands"
            )
            if latency.deadline_ms is not None:
                found.append(
                    f"deadline {latency.deadline_ms:g} ms: missed by {end.deadline_misses} of "
                    f"{end.count} commands"
                )
        drops = {f"{s.stage} {why}": n for s in latency.stages for why, n in s.drops.items()}
        if drops:
            found.append("dropped: " + ", ".join(f"{why} {n}" for why, n in drops.items()))
        return [*found, *describe_clock_faults(count_clock_faults(latency))]

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in self.p50_ms.items())
        first = f"{self.utterances} utterances, {self.planned} with a plan"
        found = [first + (f"; p50 in ms after the last word: {times}" if times else "")]
        if self.velocities:
            linear, angular = self.max_velocity
            found.append(
                f"{self.velocities} velocities on {self.topic}, up to {linear:g} m/s and "
                f"{angular:g} rad/s"
            )
        found += self._latency_lines()
        if self.right is not None:
            found.append(f"{self.right} of {self.expected} sentences as expected")
        if self.recording is not None:
            found.append(str(self.recording))
        return found


class VoiceOutput(ABC):
    """Writes the results of a run; only one thread may call it."""

    @abstractmethod
    def utterance(self, utterance: Utterance) -> None:
        """Write a finished utterance."""

    @abstractmethod
    def checked(self, checked: SentenceResult) -> None:
        """Write the result of a sentence, expected or not."""

    def progress(self, read_state: Callable[[], VoiceLiveState]) -> None:
        """Show the current state; called repeatedly."""
        del read_state

    def problem(self, text: str) -> None:
        """Write a problem."""
        print_error(text)

    @abstractmethod
    def finish(self, summary: VoiceSummary | None) -> None:
        """End the output; ``summary`` is None if the run has failed."""


class VoiceLines(VoiceOutput):
    """A line for each utterance, or some for each sentence that is checked."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def utterance(self, utterance: Utterance) -> None:
        """Write it, and its way below."""
        timeline = utterance.timeline
        way = [] if timeline is None else [f"    {format_timeline(timeline)}"]
        self._write(utterance.describe(), *way)

    def checked(self, checked: SentenceResult) -> None:
        """Write it."""
        self._write(*checked.lines(), "")

    def finish(self, summary: VoiceSummary | None) -> None:
        """Write the summary."""
        if summary is not None:
            self._write(*summary.lines())

    def _write(self, *lines: str) -> None:
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()


class VoiceJson(VoiceOutput):
    """One JSON object a line, nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def utterance(self, utterance: Utterance) -> None:
        """Write it."""
        self._write(utterance.as_json())

    def checked(self, checked: SentenceResult) -> None:
        """Write it."""
        self._write(checked.as_json())

    def finish(self, summary: VoiceSummary | None) -> None:
        """Write the summary."""
        if summary is not None:
            self._write(summary.as_json())

    def _write(self, item: dict[str, Any]) -> None:
        self._stream.write(json.dumps(item, allow_nan=False) + "\n")
        self._stream.flush()

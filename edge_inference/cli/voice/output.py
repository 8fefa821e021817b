"""Where a voice run reports to: lines, JSON, or a live view on a terminal."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TextIO

from edge_inference.cli.exit_status import print_error
from edge_inference.cli.voice.expectations import SentenceResult
from edge_inference.cli.voice.live_state import VoiceLiveState
from edge_inference.cli.voice.utterance_tracker import Utterance


@dataclass(frozen=True)
class VoiceSummary:
    """A voice run that is over. ``fastest``: highest m/s and rad/s of the velocities on ``topic``.

    ``right`` is None where nothing was expected, else how many sentences of ``expected`` came out
    as they should.
    """

    utterances: int
    planned: int
    velocities: int
    topic: str
    fastest: tuple[float, float] = (0.0, 0.0)
    p50_ms: dict[str, float] = field(default_factory=dict)
    right: int | None = None
    expected: int = 0

    def with_checks(self, right: int, expected: int) -> VoiceSummary:
        """Return it with how many sentences came out as expected."""
        return replace(self, right=right, expected=expected)

    def as_json(self) -> dict[str, Any]:
        """Return the object of the last line of ``--json``."""
        summary: dict[str, Any] = {
            "utterances": self.utterances,
            "planned": self.planned,
            "velocities": self.velocities,
            "p50_ms": self.p50_ms,
        }
        if self.right is not None:
            summary |= {"right": self.right, "expected": self.expected}
        return {"summary": summary}

    def lines(self) -> list[str]:
        """Return it in words."""
        times = ", ".join(f"{stage} {ms:.0f}" for stage, ms in self.p50_ms.items())
        first = f"{self.utterances} utterances, {self.planned} with a plan"
        found = [first + (f"; p50 in ms after the last word: {times}" if times else "")]
        if self.velocities:
            ahead, left = self.fastest
            found.append(
                f"{self.velocities} velocities on {self.topic}, up to {ahead:g} m/s and "
                f"{left:g} rad/s"
            )
        if self.right is not None:
            found.append(f"{self.right} of {self.expected} sentences as expected")
        return found


class VoiceOutput(ABC):
    """Called from one thread."""

    @abstractmethod
    def utterance(self, utterance: Utterance) -> None:
        """Hear of a finished utterance."""

    @abstractmethod
    def checked(self, checked: SentenceResult) -> None:
        """Hear of a sentence that was expected, or of one that was not."""

    def progress(self, look: Callable[[], VoiceLiveState]) -> None:
        """Hear that time has passed; ``look`` says what goes on."""
        del look

    def problem(self, text: str) -> None:
        """Hear of something that went wrong."""
        print_error(text)

    @abstractmethod
    def finish(self, summary: VoiceSummary | None) -> None:
        """End the report; without a summary where the run failed."""


class VoiceLines(VoiceOutput):
    """A line for each utterance, or some for each sentence that is checked."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def utterance(self, utterance: Utterance) -> None:
        """Write it."""
        self._write(utterance.words())

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

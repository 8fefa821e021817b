"""Transcripts that stop the robot or cancel its plan, independently of the planner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from edge_inference.core.voice import ActionPlan, Transcript
from edge_inference.speech.language.stop_phrases import is_stop
from edge_inference.speech.language.unplanned_text import UnplannedText, UnplannedTextTracker
from edge_inference.speech.planning.motion import Motion


class CommandInterrupts:
    """Calls ``stop`` or ``cancel`` for a transcript, or for one that results in no plan.

    ``add_transcript`` may be called from any thread; the caller of every other method holds
    ``lock``.
    """

    def __init__(
        self,
        motion: Motion,
        lock: threading.RLock,
        stop: Callable[[], None],
        cancel: Callable[[Transcript], None],
    ) -> None:
        self._motion = motion
        self._lock = lock
        self._stop = stop
        self._cancel = cancel
        self._unplanned = UnplannedTextTracker()

    def add_transcript(
        self, transcript: Transcript, stop_words: Collection[str], now_ns: int
    ) -> None:
        """Handle a final or partial transcript."""
        self._motion.observe(transcript, now_ns)
        if is_stop(transcript.text, stop_words):
            self._stop()
        elif transcript.is_final and self._motion.is_retracted(transcript, stop_words):
            # Only a final one: a partial "don't" may become "don't stop".
            self._cancel(transcript)
        else:
            max_age_s = self._motion.limits.plan.max_age_s
            with self._lock:
                self._handle(self._unplanned.add_transcript(transcript, stop_words, max_age_s))

    def add_plan(self, plan: ActionPlan) -> None:
        """Handle a plan before it begins."""
        self._handle(self._unplanned.add_plan(plan))

    def check_overdue(self) -> None:
        """Handle a transcript whose plan is overdue; call this in every control cycle."""
        self._handle(self._unplanned.pop_overdue())

    def clear(self) -> None:
        """Forget all pending transcripts, because the robot has stopped."""
        self._unplanned.clear()

    def _handle(self, text: UnplannedText | None) -> None:
        if text is not None and text.is_stop:
            self._stop()
        elif text is not None:
            self._cancel(text.transcript)

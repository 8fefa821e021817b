"""What words do to a robot that is at work, whoever plans: stop it, or leave what it is at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from edge_inference.core.voice import ActionPlan, Transcript
from edge_inference.speech.language.stop_phrases import is_stop
from edge_inference.speech.language.unplanned_text import UnplannedText, UnplannedTextTracker
from edge_inference.speech.planning.motion import Motion


class CommandInterrupts:
    """Calls ``stop`` or ``leave`` for what is said, and for what is said and becomes no plan.

    Words come in any thread; everything else is called with the ``lock`` held.
    """

    def __init__(
        self,
        motion: Motion,
        lock: threading.RLock,
        stop: Callable[[], None],
        leave: Callable[[Transcript], None],
    ) -> None:
        self._motion = motion
        self._lock = lock
        self._stop = stop
        self._leave = leave
        self._unplanned = UnplannedTextTracker()

    def hear(self, transcript: Transcript, stop_words: Collection[str], now_ns: int) -> None:
        """Take what was said, final or partial."""
        self._motion.observe(transcript, now_ns)
        if is_stop(transcript.text, stop_words):
            self._stop()
        elif transcript.is_final and self._motion.is_retracted(transcript, stop_words):
            self._leave(transcript)  # no sooner: it might yet become "don't stop"
        else:
            longest_s = self._motion.limits.plan.max_age_s
            with self._lock:
                self._act_on(self._unplanned.add_transcript(transcript, stop_words, longest_s))

    def take(self, plan: ActionPlan) -> None:
        """Take a plan, before it is begun."""
        self._act_on(self._unplanned.add_plan(plan))

    def attend(self) -> None:
        """Act on what no plan has come of in time; to be called in every control cycle."""
        self._act_on(self._unplanned.pop_overdue())

    def forget(self) -> None:
        """Wait for no plan: the robot has stopped."""
        self._unplanned.clear()

    def _act_on(self, word: UnplannedText | None) -> None:
        if word is not None and word.is_stop:
            self._stop()
        elif word is not None:
            self._leave(word.transcript)

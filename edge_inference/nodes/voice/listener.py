"""The server of the action listen: a goal returns the transcript of one utterance."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.timer import Timer

from edge_inference.action import Listen
from edge_inference.composition.reception import Reception
from edge_inference.core.settings import setting
from edge_inference.core.voice import Transcript
from edge_inference.nodes.component import LATCHED, Component
from edge_inference.nodes.conversions.string_and_bool import BoolAdapter
from edge_inference.nodes.conversions.voice import TranscriptAdapter

_TICK_S = 0.1


@dataclass(frozen=True)
class ListenerSettings:
    """Parameters of the listener."""

    max_timeout_s: float = setting(
        60.0, "highest timeout that a goal may have", unit="s", minimum=0.1, maximum=3600.0
    )


@dataclass
class _Goal:
    handle: Any
    timeout_s: float
    begun_ns: int
    deadline: float
    partial: str = ""


class Listener(Component):
    """Serves one goal at a time; aborts any other goal with a reason.

    ``listening`` is true while a goal is active. Voice activity whose parameter ``listening`` is
    on_demand detects speech only then. Other nodes receive the transcript as usual.
    """

    default_name = "listener"
    default_namespace = "ai"
    settings_class = ListenerSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._goal: _Goal | None = None
        # Transcripts arrive in the thread of the recognizer.
        self._lock = threading.Lock()
        self._server: Any = None
        self._timer: Timer | None = None

    def open(self) -> None:
        """Create the action server; goals are aborted until activation."""
        self._is_active = False
        self._listening = self.make_publisher("listening", BoolAdapter(), LATCHED)
        self._server = ActionServer(
            self,
            Listen,
            "listen",
            execute_callback=_execute_unexpected,
            handle_accepted_callback=self.guard(self._on_accepted),
            cancel_callback=lambda handle: CancelResponse.ACCEPT,
        )

    def start(self) -> None:
        """Subscribe to transcripts."""
        self._is_active = True
        self.subscribe_to("transcript", TranscriptAdapter(), self._on_transcript)
        self._timer = self.make_timer(_TICK_S, self._tick)

    def stop(self) -> None:
        """End the goal."""
        self._is_active = False
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        self._finish(_empty_transcript("the listener has been deactivated"))

    def close(self) -> None:
        """Destroy the action server."""
        if self._server is not None:
            self._server.destroy()
            self._server = None

    def _on_accepted(self, handle: Any) -> None:
        # A rejected goal has no result, so the client would not learn the reason.
        timeout_s, max_s = handle.request.timeout_s, self.parameters.current.max_timeout_s
        problem = ""
        if not self._is_active:
            problem = "the listener is not active"
        elif not 0.0 < timeout_s <= max_s:
            problem = f"timeout_s: expected more than 0 and at most {max_s:g}, got {timeout_s:g}"
        else:
            deadline = time.monotonic() + timeout_s
            with self._lock:
                if self._goal is None:
                    self._goal = _Goal(handle, timeout_s, self.now_ns(), deadline)
                    self._listening.publish(True)
                else:
                    problem = "another goal is active; cancel it, or wait for its end"
        if problem:
            self.health.count_dropped("refused")
            handle.execute(lambda handle: _end(handle, _empty_transcript(problem)))

    def _on_transcript(self, transcript: Transcript, reception: Reception) -> None:
        del reception
        with self._lock:
            goal = self._goal
            # Speech from before the goal does not belong to it.
            if goal is None or transcript.stamp_ns < goal.begun_ns:
                return
            goal.partial = transcript.text
        if transcript.is_final:
            self._finish(transcript)
        elif transcript.text:
            goal.handle.publish_feedback(Listen.Feedback(text=transcript.text))

    def _tick(self) -> None:
        goal = self._goal
        if goal is None:
            return
        if goal.handle.is_cancel_requested:
            self._finish(_empty_transcript("canceled"))
        elif time.monotonic() >= goal.deadline:
            what = f"{goal.partial!r} did not end" if goal.partial else "nothing was said"
            self._finish(_empty_transcript(f"{what} in {goal.timeout_s:g} seconds"))
        else:
            with self._lock:
                if self._goal is goal:
                    self._listening.publish(True)  # a single one expires

    def _finish(self, transcript: Transcript) -> None:
        goal = None
        try:
            with self._lock:
                goal, self._goal = self._goal, None
                if goal is not None:
                    self._listening.publish(False)
        finally:  # the client waits for the result
            if goal is not None:
                self.health.count_processed()
                goal.handle.execute(lambda handle: _end(handle, transcript))


def _end(handle: Any, transcript: Transcript) -> Listen.Result:
    """Set the state of a goal and return its result; runs in the executor."""
    if handle.is_cancel_requested:
        handle.canceled()
    elif transcript.text:
        handle.succeed()
    else:
        handle.abort()
    return Listen.Result(transcript=TranscriptAdapter().to_message(transcript))


def _empty_transcript(problem: str) -> Transcript:
    return Transcript("", 0.0, "", 0, locale="", problem=problem)


def _execute_unexpected(handle: Any) -> Listen.Result:
    """Fill the callback that rclpy requires; each goal is executed with a callback of its own."""
    return _end(handle, _empty_transcript("the goal was executed from outside"))

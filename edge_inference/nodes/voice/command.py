"""Plans in, velocities out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.reception import Reception
from edge_inference.core.runtime.worker import Worker, format_error
from edge_inference.core.settings import setting
from edge_inference.core.voice import ActionPlan, Transcript
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import SPEECH, Component
from edge_inference.nodes.conversions.command import (
    FeedbackAdapter,
    TwistAdapter,
    TwistStampedAdapter,
)
from edge_inference.nodes.conversions.string_and_bool import StringAdapter
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter
from edge_inference.nodes.voice.action_dispatcher import ActionDispatcher
from edge_inference.nodes.voice.executors.executor_set import make_executors
from edge_inference.nodes.voice.navigation.client import NavigationClient
from edge_inference.nodes.voice.parameter_files import load_limits
from edge_inference.nodes.voice.plan_executor import PlanExecutor
from edge_inference.speech.language.stop_phrases import StopSettings
from edge_inference.speech.planning.motion import Motion


@dataclass(frozen=True)
class CommandSettings(StopSettings):
    """Parameters of the command node."""

    rate_hz: float = setting(
        25.0, "rate of the control cycle and of velocities", unit="Hz", minimum=20.0, maximum=200.0
    )
    zero_velocity_s: float = setting(
        1.0,
        "how long zero velocity is published after a motion; then other nodes have the topic",
        unit="s",
        minimum=0.1,
        maximum=3600.0,
    )
    cancel_timeout_s: float = setting(
        1.0,
        "a canceled goal of navigation, or step of another package's executor, that has not ended "
        "after this time is an error; a request to navigation that is rejected or not answered is "
        "repeated, up to five in all",
        unit="s",
        minimum=0.1,
        maximum=60.0,
    )
    stamped: bool = setting(
        False,
        "true publishes TwistStamped, as ros2_control from Jazzy and Nav2 from Kilted on expect it",
        read_only=True,
    )
    frame_id: str = setting("base_link", "frame_id of stamped velocities", read_only=True)
    limits: str = setting(
        "", "file with the limits of the robot; empty for the shipped one", read_only=True
    )

    def velocity_adapter(self, now_ns: Callable[[], int]) -> TwistAdapter | TwistStampedAdapter:
        """Return the adapter for velocity messages; ``now_ns`` is the clock of stamped ones."""
        return TwistStampedAdapter(self.frame_id, now_ns) if self.stamped else TwistAdapter()


class Command(Component):
    """Drives by plans; a stop word, also in a partial transcript, has priority over everything.

    A no ("don't do that") ends the current plan, and drops a plan that is about to begin. So does a
    stop or a no in a text that results in no plan ("pick up the ball and stop").
    Velocity is zero while no step is active, and when this node is deactivated.
    """

    default_name = "command"
    default_namespace = "ai"
    own_executor = True
    settings_class = CommandSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._worker: Worker | None = None
        self._plan_executor: PlanExecutor | None = None

    def open(self) -> None:
        """Read the limits; make the publishers and the executors."""
        settings = self.parameters.current
        self._motion = Motion(load_limits(settings.limits))
        self._velocities = self.make_publisher("/cmd_vel", settings.velocity_adapter(self.now_ns))
        self._feedback = self.make_publisher("command_feedback", FeedbackAdapter())
        self._say = self.make_publisher("say", StringAdapter())
        self._navigation = NavigationClient(self, lambda: self.parameters.current.cancel_timeout_s)
        self._dispatcher = self._make_dispatcher()
        self._timings = self.make_publisher("stage_timing", StageTimingAdapter())

    def start(self) -> None:
        """Start the control cycle; subscribe to plans and transcripts."""
        self._plan_executor = PlanExecutor(
            self,
            self._motion,
            self._dispatcher,
            self._velocities,
            self._feedback,
            self._say,
            self._timings,
        )
        self._worker = self.make_worker(self._run)
        on_error = self._on_unreadable
        self.subscribe_to("action_plan", ActionPlanAdapter(), self._on_plan, on_error=on_error)
        self.subscribe_to(
            "transcript", TranscriptAdapter(), self._on_transcript, SPEECH, on_error=on_error
        )

    def stop(self) -> None:
        """Stop the robot and end the control cycle."""
        if self._worker is not None:
            self._worker.end()
        if self._plan_executor is not None:
            self._plan_executor.end()

    def report_exception(
        self, error: BaseException, reason: str = "failed", lost: bool = False
    ) -> None:
        """Stop the robot before the failure is reported."""
        problem = f"I stop, because something has failed: {format_error(error)}"
        if self._plan_executor is not None:
            self._plan_executor.stop_after_failure(problem)
        super().report_exception(error, reason, lost)

    def close(self) -> None:
        """Free the executors and the client of navigation."""
        if (dispatcher := self.__dict__.pop("_dispatcher", None)) is not None:
            dispatcher.close()
        if (navigation := self.__dict__.pop("_navigation", None)) is not None:
            navigation.close()

    def _make_dispatcher(self) -> ActionDispatcher:
        executors, problems = make_executors(
            self,
            self._motion.limits,
            self._navigation,
            self._say.publish,
            lambda: self.parameters.current.cancel_timeout_s,
        )
        for problem in problems:
            self.get_logger().warning(problem)
        self.health.set_warning("; ".join(problems))
        return ActionDispatcher(executors, self._say.publish)

    def _on_plan(self, plan: ActionPlan, reception: Reception) -> None:
        assert self._plan_executor is not None, "the node is started"
        self._plan_executor.add_plan(plan, reception)

    def _on_transcript(self, transcript: Transcript, _: Reception) -> None:
        assert self._plan_executor is not None, "the node is started"
        self._plan_executor.add_transcript(transcript)

    def _on_unreadable(self, error: EdgeInferenceError) -> None:
        """Stop: an unreadable plan is unsafe, and unreadable words may be a stop or a no."""
        self.report_error(error)
        assert self._plan_executor is not None, "the node is started"
        self._plan_executor.stop_for_unreadable(f"I stop, because I cannot read a message: {error}")

    def _run(self, worker: Worker) -> None:
        executor = self._plan_executor
        assert executor is not None, "the node is started"
        due = time.monotonic()
        while not worker.is_ending:
            executor.run_cycle()
            due = max(due + 1.0 / self.parameters.current.rate_hz, time.monotonic())
            worker.wait(due - time.monotonic())

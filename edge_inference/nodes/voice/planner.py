"""Intents in, plans within the limits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_inference.composition.reception import Reception
from edge_inference.core.runtime.worker import format_error
from edge_inference.core.settings import setting
from edge_inference.core.voice import STOP, ActionPlan, Intent, IntentArray, Transcript
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import SPEECH
from edge_inference.nodes.conversions.string_and_bool import StringAdapter
from edge_inference.nodes.conversions.voice import (
    ActionPlanAdapter,
    IntentArrayAdapter,
    TranscriptAdapter,
)
from edge_inference.nodes.stage import Stage, StageSettings
from edge_inference.nodes.voice.parameter_files import load_limits
from edge_inference.speech.actions.action import SCENE
from edge_inference.speech.actions.table import executor_of
from edge_inference.speech.language.stop_phrases import StopSettings
from edge_inference.speech.planning import planner


@dataclass(frozen=True)
class PlannerSettings(StopSettings, StageSettings):
    """Parameters of the planner."""

    queue_depth: int = setting(10, "maximum number of waiting intents", minimum=1, maximum=100)
    limits: str = setting("", "file with the limits of the robot; empty for the shipped one")


class Planner(Stage[IntentArray]):
    """Makes plans; says aloud what the robot does, or why it does not."""

    default_name = "planner"
    default_namespace = "ai"
    settings_class = PlannerSettings

    def open(self) -> None:
        """Read the limits."""
        super().open()
        settings = self.parameters.current
        self._planner = planner.ActionPlanner(
            load_limits(settings.limits), stop_words=settings.stop_words
        )
        self._plans = self.make_publisher("action_plan", ActionPlanAdapter())
        self._say = self.make_publisher("say", StringAdapter())

    def accept(self, settings: PlannerSettings) -> None:
        """Refuse limits that are not readable; the old ones stay."""
        if settings.limits != self.parameters.current.limits:
            load_limits(settings.limits)

    def apply_settings(self, old: PlannerSettings, new: PlannerSettings) -> None:
        """Plan within other limits; close a question that was asked within the old ones."""
        if new.limits != old.limits:
            self._planner.close_question("What I may do has changed since I asked")
            self._planner.limits = load_limits(new.limits)

    def start(self) -> None:
        """Subscribe to intents, and to transcripts, which may close a question."""
        self._planner.close_question("I was switched off after I had asked")
        super().start()
        self.subscribe_to(
            "transcript",
            TranscriptAdapter(),
            self._on_transcript,
            SPEECH,
            on_error=self._on_unreadable,
        )
        on_error = self._on_unreadable_intent
        self.subscribe_to("intent", IntentArrayAdapter(), self._on_intent, on_error=on_error)

    def process(self, item: IntentArray, settings: Any) -> tuple[ActionPlan, str]:
        """Plan one utterance; return the plan and what to say about it."""
        try:
            plan = self._planner.plan(item, self.now_ns())
        except BaseException as error:
            # Of an action of another package; the speaker gets an answer.
            self.report_exception(error)
            plan = planner.make_refusal(item, f"I cannot plan that: {format_error(error)}")
        if plan.steps and all(executor_of(step.action) == SCENE for step in plan.steps):
            return plan, ""  # the scene reporter answers
        # The robot does not answer speech that is no command at all.
        return plan, plan.reason if plan.intent or item.text else ""

    def emit(self, output: tuple[ActionPlan, str]) -> None:
        """Publish the plan, and what to say about it."""
        plan, text = output
        if text:  # first: a node that does not follow the plan says so after it
            self._say.publish(text)
        self._plans.publish(plan)

    def _on_transcript(self, transcript: Transcript, _: Reception) -> None:
        self._planner.stop_words = self.parameters.current.stop_words
        self._planner.observe(transcript)

    def _on_intent(self, asked: IntentArray, reception: Reception) -> None:
        if asked.is_only(STOP):  # it waits neither for other intents nor for a plan of a package
            self.process_at_once(asked, reception)
        else:
            self.receive(asked, reception)

    def _on_unreadable_intent(self, error: EdgeInferenceError) -> None:
        """Stop: unreadable intents may have been a stop or a no."""
        self._on_unreadable(error)
        reason = f"I stop, because I cannot read a message: {error}"
        stop = IntentArray((Intent(STOP),), 1.0, "", "grammar", self.now_ns())
        plan = planner.make_refusal(stop, reason)
        self.emit((plan, plan.reason))

    def _on_unreadable(self, error: EdgeInferenceError) -> None:
        """Close the question: what is unreadable may have been a stop or a no."""
        self._planner.close_question("I could not read what was said since I asked")
        self.report_error(error)

"""Answers "what do you see?" from the latest results of perception."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from edge_inference.core.results import Classification, Detections
from edge_inference.core.settings import setting
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.command import FeedbackAdapter
from edge_inference.nodes.conversions.plain import StringAdapter
from edge_inference.nodes.conversions.results import classification_adapter, detection_adapter
from edge_inference.nodes.voice.voice_files import find_scene_names
from edge_inference.speech.planning.motion import MotionFeedback, MotionState
from edge_inference.speech.planning.scene import Scene, SceneSettings
from edge_inference.speech.planning.scene_sentences import format_answer


@dataclass(frozen=True)
class SceneReporterSettings(SceneSettings):
    """Parameters of the scene reporter."""

    names: str = setting(
        "",
        "file that says what labels are called in speech; empty for the shipped one",
        read_only=True,
    )


class SceneReporter(Component):
    """Says what is seen when a plan comes to a step that asks for it."""

    default_name = "scene_reporter"
    default_namespace = "ai"
    settings_class = SceneReporterSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        # Results, and steps of a plan, come in the threads of those who publish them.
        self._lock = threading.Lock()

    def open(self) -> None:
        """Read what things are called."""
        self._names = find_scene_names(self.parameters.current.names)
        self._say = self.make_publisher("say", StringAdapter())

    def start(self) -> None:
        """Watch, and listen for questions."""
        self._scene = Scene(self._names.spoken_name)
        self._answered: tuple[int, int] | None = None
        results = self.subscribe_to("detections", detection_adapter(), self._on_result)
        self._topic = results.topic
        self.subscribe_to("classification", classification_adapter(), self._on_result)
        self.subscribe_to("command_feedback", FeedbackAdapter(), self._on_feedback)

    def _on_result(self, result: Detections | Classification, by_reference: bool) -> None:
        with self._lock:
            # A message names only the classes that it has found.
            self._scene.add(result, self.now_ns(), all_labels=by_reference)
        self.health.count_processed()

    def _on_feedback(self, feedback: MotionFeedback, by_reference: bool) -> None:
        del by_reference
        step = feedback.step
        if feedback.state is not MotionState.WAITING or step is None or step.action != "look":
            return
        settings = self.parameters.current
        asked = (feedback.stamp_ns, feedback.index)
        with self._lock:
            if asked == self._answered:
                return
            self._answered = asked
            view = self._scene.view(self.now_ns(), settings)
        words = format_answer(view, step.target, self._names, settings, self._topic)
        self.health.note("said", words)
        self._say.publish(words)

"""Answers "what do you see?" from the latest results of perception."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from edge_inference.composition.reception import Reception
from edge_inference.core.results import CLASSIFICATION, DETECTION, Classification, Detections
from edge_inference.core.settings import setting
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.command import FeedbackAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.conversions.string_and_bool import StringAdapter
from edge_inference.nodes.voice.parameter_files import load_scene_names
from edge_inference.speech.actions.action import SCENE
from edge_inference.speech.actions.table import executor_of
from edge_inference.speech.planning.motion import MotionFeedback, MotionState
from edge_inference.speech.planning.scene import Scene, SceneSettings
from edge_inference.speech.planning.scene_sentences import format_answer


@dataclass(frozen=True)
class SceneReporterSettings(SceneSettings):
    """Parameters of the scene reporter."""

    names: str = setting(
        "",
        "file with the spoken names of labels; empty for the shipped one",
        read_only=True,
    )


class SceneReporter(Component):
    """Says what perception sees when a plan reaches a step to look."""

    default_name = "scene_reporter"
    default_namespace = "ai"
    settings_class = SceneReporterSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        # Results and feedback arrive in the threads of their publishers.
        self._lock = threading.Lock()

    def open(self) -> None:
        """Read the spoken names."""
        self._names = load_scene_names(self.parameters.current.names)
        self._say = self.make_publisher("say", StringAdapter())

    def start(self) -> None:
        """Subscribe to results and to the feedback of plans."""
        self._scene = Scene(self._names.spoken_name)
        self._answered_step: tuple[int, int] | None = None
        objects = self.subscribe_to(DETECTION.topic, result_adapter(DETECTION), self._on_result)
        self._topic = objects.topic
        self.subscribe_to(CLASSIFICATION.topic, result_adapter(CLASSIFICATION), self._on_result)
        self.subscribe_to("command_feedback", FeedbackAdapter(), self._on_feedback)

    def _on_result(self, result: Detections | Classification, reception: Reception) -> None:
        with self._lock:
            # A message contains only the labels of the objects in it.
            self._scene.add(result, self.now_ns(), all_labels=reception.by_reference)
        self.health.count_processed()

    def _on_feedback(self, feedback: MotionFeedback, reception: Reception) -> None:
        del reception
        step = feedback.step
        if feedback.state is not MotionState.WAITING or step is None:
            return
        if executor_of(step.action) != SCENE:
            return
        settings = self.parameters.current
        look_step = (feedback.stamp_ns, feedback.index)
        with self._lock:
            if look_step == self._answered_step:
                return
            self._answered_step = look_step
            view = self._scene.view(self.now_ns(), settings)
        text = format_answer(view, step.target, self._names, settings, self._topic)
        self.health.note("said", text)
        self._say.publish(text)

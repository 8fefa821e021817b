"""Publishes the engine that an inference node actually runs, at every change and once a second."""

from __future__ import annotations

import threading

from edge_inference.core.exports.metadata_check import find_contradictions
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.text_line import one_line
from edge_inference.engines.serving.server import EngineServer
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.perception.operating_points import settings_of


class EngineStatePublisher:
    """Publishes ``inference_state``, from any thread."""

    def __init__(self, node: Component) -> None:
        self._node = node
        #: Serializes publishing, so that the last published state is the current one.
        self._lock = threading.RLock()
        self._publisher = node.make_publisher("inference_state", InferenceStateAdapter())
        self._previous_model = self.model_in_use = ""
        self.problem = ""

    def set_model(self, model: ModelDescription) -> None:
        """Set the model in use, and keep the previous one.

        Warns once of what in a new model contradicts the metadata of its exporter, or is doubtful.
        """
        self.problem = ""
        if model.name != self.model_in_use:
            self._previous_model, self.model_in_use = self.model_in_use, model.name
            doubt = model.input.doubt()
            for text in (*(find_contradictions(model) or ()), *([doubt] if doubt else [])):
                self._node.get_logger().warning(one_line(f"{model.name}: {text}"))

    def publish(self, server: EngineServer | None, max_rate_hz: float | None) -> None:
        """Publish the state of the engine in service, if any."""
        with self._lock:
            engine = server.engine if server is not None else None
            if server is None or engine is None:
                return
            preparation = server.preparation
            preparing = "" if preparation is None else preparation.describe()
            self._node.health.note("preparing", preparing or "nothing")
            settings = settings_of(engine.request)
            self._publisher.publish(
                InferenceState(
                    node=self._node.get_fully_qualified_name(),
                    model=settings.model,
                    model_path=settings.model_path,
                    model_name=engine.request.model.name,
                    previous_model=self._previous_model,
                    backend=engine.selection.name,
                    precision=engine.precision,
                    engine=engine.backend.describe(),
                    takes_images=engine.backend.takes_images,
                    preparing=preparing,
                    progress=None if preparation is None else preparation.fraction,
                    problem=one_line(self.problem),
                    max_rate_hz=max_rate_hz,
                    stamp_ns=self._node.now_ns(),
                )
            )

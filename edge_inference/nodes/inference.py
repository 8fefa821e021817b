"""Model inputs in, raw outputs out."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

from rclpy.timer import Timer

from edge_inference.backends.base import Backend
from edge_inference.core.inference_state import InferenceState
from edge_inference.core.tensors import TensorBatch
from edge_inference.engines.engine_check import check_engine, warm_up
from edge_inference.engines.preparation import check_beside
from edge_inference.engines.select import Selection, select_backend
from edge_inference.engines.serve_batch import BatchRunner
from edge_inference.engines.server import Engine, EngineServer
from edge_inference.engines.supply import Cancelled, default_store
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.inference_settings import InferenceSettings
from edge_inference.nodes.stage import Stage

STATE_PERIOD_S = 1.0


class Inference(Stage[TensorBatch]):
    """Runs a model; another model, backend or precision takes over between two frames."""

    default_name = "inference"
    default_namespace = "ai"
    settings_class = InferenceSettings

    def __init__(self, **node_arguments: Any) -> None:
        self._server: EngineServer | None = None
        #: States go out one after the other, so that the last one heard is true.
        self._state_lock = threading.RLock()
        super().__init__(**node_arguments)
        self._state_timer: Timer | None = None
        self._running_model = self._previous_model = self._last_model = ""
        self._problem = ""

    def accept(self, settings: InferenceSettings) -> None:
        """Refuse a model, backend or precision that cannot run here."""
        if not settings.same_engine(self.parameters.current):
            select_backend(settings.request(), default_store())

    def changed(self, settings: InferenceSettings) -> None:
        """Make another engine ready beside the one in service."""
        server = self._server
        if server is None or server.engine is None:
            return
        engine = server.engine
        waits_in_vain = engine.is_stand_in and server.preparation is None
        if settings.same_engine(server.aim.origin) and not waits_in_vain:
            return
        self._problem = ""
        is_back = settings.same_engine(engine.request.origin) and not engine.is_stand_in
        if not (is_back and server.keep(engine)):
            server.switch(settings.request())
        self._publish_state()

    def open(self) -> None:
        """Open the model and check it on its golden pictures, which also warms it up."""
        super().open()
        self._outputs = self.publish_on("raw_output", TensorListAdapter())
        self._states = self.publish_on("inference_state", InferenceStateAdapter())
        self._runner = BatchRunner()
        self._running_model = self._previous_model = self._last_model = self._problem = ""
        settings = self.parameters.current
        self._server = EngineServer(default_store(), self._check, self._took_over, self._failed)
        self._server.open(settings.request(), may_stand_in=settings.stand_in)
        self._state_timer = self.make_timer(STATE_PERIOD_S, self._publish_state)

    def start(self) -> None:
        """Listen to tensors."""
        super().start()
        self.subscribe_to("tensor", TensorListAdapter(), self.receive)

    def close(self) -> None:
        """Free the model."""
        if self._state_timer is not None:
            self.destroy_timer(self._state_timer)
            self._state_timer = None
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def model_name(self) -> str:
        """Return the model that ran last: the one in service may be another by now."""
        return self._last_model or self._running_model

    def process(self, item: TensorBatch, settings: InferenceSettings) -> TensorBatch:
        """Run the model once."""
        assert self._server is not None
        output = self._server.run(lambda engine: self._runner(engine, item))
        self._last_model = output.model
        return output

    def emit(self, output: TensorBatch) -> None:
        """Publish the raw outputs."""
        self._outputs.publish(output)

    # Called by the server -----------------------------------------------------------------------

    def _check(
        self, selection: Selection, backend: Backend, cancelled: Cancelled
    ) -> Mapping[str, str]:
        settings = self.parameters.current
        golden, agreement = settings.golden_check, settings.self_check
        assert self._server is not None
        nothing_to_do = golden == agreement == "off"
        if self._server.engine is None or nothing_to_do:
            checked = check_engine(
                selection, backend, golden=golden, agreement=agreement, cancelled=cancelled
            )
        else:  # frames flow: they would feel it
            checked = check_beside(selection.request, default_store(), golden, agreement, cancelled)
            warm_up(selection.request.model, backend)
        backend.precision_in_use = backend.precision_in_use or checked.precision
        for warning in checked.warnings:
            self.get_logger().warning(warning)
        return checked.notes

    def _took_over(self, engine: Engine) -> None:
        self._problem = ""
        model = engine.request.model.name
        if model != self._running_model:
            self._previous_model, self._running_model = self._running_model, model
        what = engine.backend.describe()
        self.get_logger().info(f"{model}: {what} ({engine.selection.reason})")
        self.health.note_only(engine.facts())
        self._publish_state()

    def _failed(self, error: EdgeInferenceError, engine: Engine) -> None:
        self._problem = str(error)
        self.refuse(error, "engine", lost=False)
        if self._server is not None:
            # What is being made ready is what was asked for last.
            in_force = self._server.aim.origin.engine_values()
            self.parameters.restore(dataclasses.replace(self.parameters.current, **in_force))
        self._publish_state()

    def _publish_state(self) -> None:
        with self._state_lock:
            self._publish_state_now()

    def _publish_state_now(self) -> None:
        server = self._server
        engine = server.engine if server is not None else None
        if server is None or engine is None:
            return
        preparation = server.preparation
        wanted = "" if preparation is None else preparation.words()
        self.health.note("being made ready", wanted or "nothing")
        origin = engine.request.origin
        self._states.publish(
            InferenceState(
                node=self.get_fully_qualified_name(),
                model=origin.model,
                model_path=origin.model_path,
                model_name=engine.request.model.name,
                previous_model=self._previous_model,
                backend=engine.selection.name,
                precision=engine.precision,
                engine=engine.backend.describe(),
                takes_pictures=engine.backend.takes_pictures,
                wanted=wanted,
                progress=None if preparation is None else preparation.fraction,
                problem=self._problem,
                stamp_ns=self.now_ns(),
            )
        )

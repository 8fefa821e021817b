"""The inference node: runs a model on input tensors and publishes its raw outputs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rclpy.timer import Timer

from edge_inference.backends.base import Backend
from edge_inference.core.tensors import TensorBatch
from edge_inference.engines.cache.artifacts import Cancelled, default_cache
from edge_inference.engines.serving.batch_runner import BatchRunner
from edge_inference.engines.serving.engine import Engine
from edge_inference.engines.serving.selection import Selection, select_backend
from edge_inference.engines.serving.server import EngineServer
from edge_inference.engines.serving.service_costs import ServiceCosts
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.perception.engine_state import EngineStatePublisher
from edge_inference.nodes.perception.engine_validation import EngineValidation
from edge_inference.nodes.perception.inference_settings import InferenceSettings, settings_of
from edge_inference.nodes.perception.operating_points import (
    NotFasterError,
    OperatingPoints,
    timing_key,
)
from edge_inference.nodes.stage import Stage
from edge_inference.nodes.throttle_client import ServingState, ThrottleClient

STATE_PERIOD_S = 1.0


class Inference(Stage[TensorBatch]):
    """Runs a model; switches to another model, backend or precision between two frames.

    It follows the limits of the platform manager, unless it is safety-critical.
    """

    default_name = "inference"
    default_namespace = "ai"
    settings_class = InferenceSettings
    _points: OperatingPoints

    def __init__(self, **node_arguments: Any) -> None:
        self._server: EngineServer | None = None
        super().__init__(**node_arguments)
        self._throttle = ThrottleClient(
            self, lambda: self._apply_limits(retry=False), self._serving_state
        )
        self._state_timer: Timer | None = None
        self._last_model = ""

    def accept(self, settings: InferenceSettings) -> None:
        """Reject a model, backend, precision or variant that cannot run here."""
        is_same = settings.same_engine(self.parameters.current)
        if not is_same:
            select_backend(settings.request(), default_cache())
        if not is_same or settings.variants != self.parameters.current.variants:
            OperatingPoints(settings)

    def on_change(self, settings: InferenceSettings) -> None:
        """Prepare another engine while the present one stays in service."""
        if self._server is not None and self._server.engine is not None:
            with self._throttle.lock:
                previous = self._points.containing(settings_of(self._server.engine.request))
                self._points = OperatingPoints(settings, previous, self.get_logger().warning)
                self._apply_limits()

    def _apply_limits(self, *, retry: bool = True) -> None:
        """Switch to the best engine within the limits of the platform manager, if necessary."""
        with self._throttle.lock:
            server = self._server
            if server is None or server.engine is None:
                return
            if self._points.apply_limits(server, self._throttle.limits, retry=retry):
                self._states.problem = ""
        self._publish_state()

    def open(self) -> None:
        """Open the model and check it on its golden images, which also warms it up."""
        super().open()
        self._outputs = self.make_publisher("raw_output", TensorListAdapter())
        self._states = EngineStatePublisher(self)
        self._throttle.open()
        self._service = ServiceCosts(default_cache(), self.get_logger().warning)
        self._runner = BatchRunner(self._service.add)
        self._last_model = ""
        settings = self.parameters.current
        self._points = OperatingPoints(settings, None, self.get_logger().warning)
        self._server = EngineServer(default_cache(), self._check, self._on_switch, self._on_failure)
        self._server.open(settings.request(), allow_fallback=settings.fallback)
        self._state_timer = self.make_timer(STATE_PERIOD_S, self._update)

    def start(self) -> None:
        """Subscribe to tensors, and to directives of the platform manager."""
        super().start()
        self._throttle.start()
        self.subscribe_to("tensor", TensorListAdapter(), self.receive, exclusive=True)

    def close(self) -> None:
        """Free the model."""
        if self._state_timer is not None:
            self.destroy_timer(self._state_timer)
            self._state_timer = None
        with self._throttle.lock:  # another thread may be handling a directive
            server, self._server = self._server, None
        if server is not None:
            server.close()
            self._service.close()

    def model_name(self) -> str:
        """Return the model of the last inference: the model in service may be another by now."""
        return self._last_model or self._states.model_in_use

    def admits(self, item: TensorBatch) -> bool:
        """Admit as many batches per second as the platform manager allows."""
        return self._throttle.admits(len(item.geometry), item.skipped)

    def process(self, item: TensorBatch, settings: InferenceSettings) -> TensorBatch:
        """Run the model once."""
        assert self._server is not None
        output = self._server.run(lambda engine: self._run_on(engine, item))
        self._last_model = output.model
        return output

    def _run_on(self, engine: Engine, item: TensorBatch) -> TensorBatch:
        started_ns = time.monotonic_ns()
        output = self._runner(engine, item, self._throttle.limits.max_batch)
        now_ns = time.monotonic_ns()
        self._throttle.meter.record_done(now_ns, timing_key(engine), (now_ns - started_ns) / 1e6)
        return output

    def emit(self, output: TensorBatch) -> None:
        """Publish the raw outputs."""
        self._outputs.publish(output)

    def _check(
        self, selection: Selection, backend: Backend, cancelled: Cancelled
    ) -> Mapping[str, str]:
        server = self._server  # None during close
        in_service = server is None or server.engine is not None
        check = EngineValidation(self.parameters.current, self._points, self.get_logger().warning)
        return check(selection, backend, cancelled, in_service=in_service)

    def _on_switch(self, engine: Engine) -> None:
        model = engine.request.model.name
        self._states.set_model(model)
        self.get_logger().info(f"{model}: {engine.backend.describe()} ({engine.selection.reason})")
        self.health.replace_notes(engine.facts())
        self._publish_state()

    def _on_failure(self, error: EdgeInferenceError, engine: Engine) -> None:
        is_error = not isinstance(error, NotFasterError)  # the workload message reports that one
        if is_error:
            self.report_error(error, "engine", lost=False)
        with self._throttle.lock:  # waits for the thread that started the switch
            self._states.problem = str(error) if is_error else self._states.problem
            if self._points.rule_out(error, self._throttle.limits):
                # The platform manager requested this engine, not the user.
                self._apply_limits()
            elif self._server is not None:
                # The server prepares the engine that was requested last.
                self._points = self._points.containing(settings_of(self._server.target_request))
                self.parameters.restore(self._points.restore_in(self.parameters.current))
                self._apply_limits(retry=False)
        self._publish_state()

    def _update(self) -> None:
        self._throttle.update()
        self._service.save_if_due(time.monotonic_ns(), is_free=self._throttle.limits.is_free)
        self._publish_state()

    def _publish_state(self) -> None:
        self._states.publish(self._server, self._throttle.limits.max_rate_hz)

    def _serving_state(self) -> ServingState:
        engine = self._server.engine if self._server is not None else None
        return self._points.serving_state(engine, self._throttle.limits, self._throttle.meter)

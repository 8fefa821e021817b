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
from edge_inference.engines.serving.engine_selector import EngineSelector, NotFasterError
from edge_inference.engines.serving.selection import Selection, select_backend
from edge_inference.engines.serving.server import EngineFailure
from edge_inference.engines.serving.service_costs import ServiceCosts
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.perception.engine_state import EngineStatePublisher
from edge_inference.nodes.perception.engine_validation import EngineValidation
from edge_inference.nodes.perception.inference_settings import InferenceSettings
from edge_inference.nodes.perception.operating_points import OperatingPoints, timing_key
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

    def __init__(self, **node_arguments: Any) -> None:
        self._selector: EngineSelector[OperatingPoints] | None = None
        super().__init__(**node_arguments)
        self._throttle = ThrottleClient(self, self._apply_limits, self._serving_state)
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
        selector = self._selector
        if selector is not None and selector.server.engine is not None:
            selector.ask(OperatingPoints(settings, self.get_logger().warning))

    def _apply_limits(self) -> None:
        if self._selector is not None:
            self._selector.limit(self._throttle.limits)

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
        points = OperatingPoints(settings, self.get_logger().warning)
        self._selector = EngineSelector(
            default_cache(),
            self._check,
            self.guard(self._on_switch),
            self.guard(self._on_failure),
            self.guard(self._on_restored),
            self.guard(self._on_asked),
        )
        self._selector.open(points, allow_fallback=settings.fallback)
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
            selector, self._selector = self._selector, None
        if selector is not None:
            selector.close()
            self._service.close()

    def model_name(self) -> str:
        """Return the model of the last inference: the model in service may be another by now."""
        return self._last_model or self._states.model_in_use

    def admits(self, item: TensorBatch) -> bool:
        """Admit as many batches per second as the platform manager allows."""
        return self._throttle.admits(len(item.geometry), item.skipped)

    def process(self, item: TensorBatch, settings: InferenceSettings) -> TensorBatch:
        """Run the model once."""
        assert self._selector is not None
        output = self._selector.server.run(lambda engine: self._run_on(engine, item))
        self._last_model, self.device_ms = output.model, self._runner.device_ms
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
        selector = self._selector  # None during close
        in_service = selector is None or selector.server.engine is not None
        check = EngineValidation(self.parameters.current, self.get_logger().warning)
        return check(selection, backend, cancelled, in_service=in_service)

    def _on_switch(self, engine: Engine) -> None:
        model = engine.request.model.name
        self._states.set_model(engine.request.model)
        self.get_logger().info(f"{model}: {engine.backend.describe()} ({engine.selection.reason})")
        self.health.replace_notes(engine.facts())
        self._publish_state()

    def _on_failure(self, failure: EngineFailure) -> None:
        if isinstance(failure.error, NotFasterError):
            return  # the workload message reports it
        self.report_error(failure.error, "engine", lost=False)
        self._states.problem = str(failure.error)

    def _on_restored(self, failed: OperatingPoints, points: OperatingPoints) -> None:
        self.parameters.restore(points.restore_in(self.parameters.current, failed))

    def _on_asked(self, is_new: bool) -> None:
        if is_new:
            self._states.problem = ""
        self._publish_state()

    def _update(self) -> None:
        self._throttle.update()
        now_ns, throttle, selector = time.monotonic_ns(), self._throttle, self._selector
        self._service.save_if_due(now_ns, is_free=throttle.limits.is_free)
        if selector is not None:
            adapts = self.parameters.current.adapt_to_load
            demand_hz = throttle.demand_hz(now_ns) if adapts else None
            engine, meter = selector.server.engine, throttle.meter
            selector.adapt(now_ns, demand_hz, lambda points: points.process_ms(engine, meter))
        self._publish_state()

    def _publish_state(self) -> None:
        server = self._selector.server if self._selector is not None else None
        self._states.publish(server, self._throttle.limits.max_rate_hz)

    def _serving_state(self) -> ServingState:
        assert self._selector is not None
        engine, throttle = self._selector.server.engine, self._throttle
        points, selected = self._selector.selected()
        return points.serving_state(engine, selected, throttle.limits, throttle.meter)

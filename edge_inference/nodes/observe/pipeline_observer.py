"""Receives the topics of a pipeline that runs in other processes, for a command."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.bus import Subscription
from edge_inference.core.results import RESULT_KINDS
from edge_inference.core.runtime.rate_limit import RateLimiter
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.nodes.component import LATCHED
from edge_inference.nodes.conversions.command import FeedbackAdapter
from edge_inference.nodes.conversions.diagnostics import DiagnosticsAdapter
from edge_inference.nodes.conversions.images import CompressedImageAdapter
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.parameter_messages import ParameterEventAdapter
from edge_inference.nodes.conversions.performance import DirectiveAdapter, WorkloadAdapter
from edge_inference.nodes.conversions.platform import PlatformReportAdapter
from edge_inference.nodes.conversions.process_statistics import ProcessStatisticsAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.conversions.string_and_bool import StringAdapter
from edge_inference.nodes.conversions.timing import LatencyReportAdapter, StageTimingAdapter
from edge_inference.nodes.conversions.voice import (
    ActionPlanAdapter,
    IntentArrayAdapter,
    TranscriptAdapter,
)
from edge_inference.nodes.observe.parameter_client import ParameterClient

#: Every stage publishes for every frame; none may be lost.
EVERY_MESSAGE = 1000

Result = TypeVar("Result")


class _SampledSubscription(Subscription[Any]):
    """Leaves messages out that come sooner than people can look at them."""

    def __init__(self, max_rate_hz: float | None, *arguments: Any) -> None:
        self._max_rate_hz = max_rate_hz
        self._limiter = RateLimiter()
        super().__init__(*arguments)

    def _on_bytes(self, data: bytes, info: Any = None) -> None:
        if self._limiter.admits(time.monotonic_ns(), self._max_rate_hz):
            super()._on_bytes(data, info)


class PipelineObserver(Node):
    """A node of a command, hidden from `ros2 node list`."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("_pipeline_observer", **node_arguments)
        self._subscriptions_of_topics: list[Subscription[Any]] = []
        self.parameters = ParameterClient(self, self.call)

    def subscribe(
        self,
        topic: str,
        callback: Callable[[Any], None],
        on_error: Callable[[EdgeInferenceError], None],
        depth: int = EVERY_MESSAGE,
        max_rate_hz: float | None = None,
    ) -> Callable[[], None]:
        """Pass every object on a topic to ``callback``, in the executor's thread.

        At most ``depth`` messages wait; those beyond ``max_rate_hz`` are not even read. Returns the
        function that ends it. Raises ConfigError for a topic whose last name is not one of those of
        a pipeline.
        """
        subscription = _SampledSubscription(
            max_rate_hz,
            self,
            _make_adapter(topic),
            topic,
            lambda item, reception: callback(item),
            on_error,
            LATCHED if self._is_latched(topic) else QoSProfile(depth=depth),
        )
        self._subscriptions_of_topics.append(subscription)

        def close() -> None:
            self._subscriptions_of_topics.remove(subscription)
            subscription.close()

        return close

    def call_every(self, period_s: float, callback: Callable[[], None]) -> None:
        """Call a function periodically in the executor's thread."""
        self.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def call(self, function: Callable[[], Result], timeout_s: float) -> Result:
        """Run a function in the executor's thread, and return its result.

        Raises EdgeInferenceError where the executor is not free in time.
        """
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        assert self.executor is not None  # the container adds the node to one
        self.executor.create_task(run)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise EdgeInferenceError(
                f"the observer of the pipeline was busy for {timeout_s:g} s; try again"
            ) from None

    def destroy_node(self) -> None:
        """Close the subscriptions and leave the graph."""
        for subscription in self._subscriptions_of_topics:
            subscription.close()
        self._subscriptions_of_topics.clear()
        super().destroy_node()

    def _is_latched(self, topic: str) -> bool:
        """Tell whether a publisher keeps its last message for late subscribers."""
        infos = self.get_publishers_info_by_topic(topic)
        durability = QoSDurabilityPolicy.TRANSIENT_LOCAL
        return bool(infos) and all(info.qos_profile.durability == durability for info in infos)


#: The adapters by the last names of their topics; those of results are found by their kinds.
_ADAPTERS: dict[str, type[Adapter[Any]]] = {
    "stage_timing": StageTimingAdapter,
    "latency_report": LatencyReportAdapter,
    "process_statistics": ProcessStatisticsAdapter,
    "platform_state": PlatformReportAdapter,
    "performance_directive": DirectiveAdapter,
    "workload": WorkloadAdapter,
    "inference_state": InferenceStateAdapter,
    "diagnostics": DiagnosticsAdapter,
    "parameter_events": ParameterEventAdapter,
    "transcript": TranscriptAdapter,
    "intent": IntentArrayAdapter,
    "action_plan": ActionPlanAdapter,
    "command_feedback": FeedbackAdapter,
    "say": StringAdapter,
    "overlay/compressed": CompressedImageAdapter,
}


def _make_adapter(topic: str) -> Adapter[Any]:
    for name, adapter_class in _ADAPTERS.items():
        if topic.endswith(f"/{name}"):
            return adapter_class()
    kinds = {kind.topic: kind for kind in RESULT_KINDS.rows().values()}
    for name, kind in kinds.items():
        if topic.endswith(f"/{name}"):
            return result_adapter(kind)
    raise ConfigError(f"topic {topic}: expected one of {', '.join([*_ADAPTERS, *kinds])}")

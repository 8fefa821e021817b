"""Receives the topics of a pipeline that runs in other processes, for a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.bus import Subscription
from edge_inference.core.results import RESULT_KINDS
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.nodes.component import LATCHED
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.performance import DirectiveAdapter
from edge_inference.nodes.conversions.platform import PlatformReportAdapter
from edge_inference.nodes.conversions.process_statistics import ProcessStatisticsAdapter
from edge_inference.nodes.conversions.results.adapter_choice import result_adapter
from edge_inference.nodes.conversions.timing import LatencyReportAdapter, StageTimingAdapter

#: Every stage publishes for every frame; none may be lost.
_EVERY_MESSAGE = QoSProfile(depth=1000)


class PipelineObserver(Node):
    """A node of a command, hidden from `ros2 node list`."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("_pipeline_observer", **node_arguments)
        self._subscriptions_of_topics: list[Subscription[Any]] = []

    def subscribe(
        self,
        topic: str,
        callback: Callable[[Any], None],
        on_error: Callable[[EdgeInferenceError], None],
    ) -> None:
        """Pass every object on a topic to ``callback``, in the executor's thread.

        Raises ConfigError for a topic whose last name is not one of those of a pipeline.
        """
        adapter = _adapter(topic)
        is_latched = self._is_latched(topic)
        self._subscriptions_of_topics.append(
            Subscription(
                self,
                adapter,
                topic,
                lambda item, reception: callback(item),
                on_error,
                LATCHED if is_latched else _EVERY_MESSAGE,
            )
        )

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


def _adapter(topic: str) -> Adapter[Any]:
    adapters: dict[str, Adapter[Any]] = {
        "stage_timing": StageTimingAdapter(),
        "latency_report": LatencyReportAdapter(),
        "process_statistics": ProcessStatisticsAdapter(),
        "platform_state": PlatformReportAdapter(),
        "performance_directive": DirectiveAdapter(),
        "inference_state": InferenceStateAdapter(),
        **{kind.topic: result_adapter(kind) for kind in RESULT_KINDS.rows().values()},
    }
    name = topic.rpartition("/")[2]
    if name not in adapters:
        raise ConfigError(f"topic {topic}: expected one of {', '.join(adapters)}")
    return adapters[name]

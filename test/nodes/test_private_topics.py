"""External publishers on private topics, and nodes with equal names, on real ROS 2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node

from edge_inference.composition import private_topics
from edge_inference.composition.bus import Publisher
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.runtime.health import HealthLevel
from edge_inference.core.tensors import TensorBatch
from edge_inference.nodes import component
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from perception_rig import Pipeline, state
from rig import Rig, wait_for

both_executors = pytest.mark.parametrize("rig", ["best", "single"], indirect=True)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish /diagnostics ten times a second."""
    monkeypatch.setattr(component, "DIAGNOSTICS_PERIOD_S", 0.1)


class Stranger:
    """A node in its own context, whose objects arrive as messages."""

    def __init__(self, name: str, namespace: str = "/ai") -> None:
        self.context = Context()
        rclpy.init(args=[], context=self.context)
        self.node = Node(name, namespace=namespace, context=self.context)

    def publisher(self, topic: str, adapter, node: Node) -> Publisher:
        publisher = Publisher(self.node, adapter, topic, RELIABLE)
        wait_for(publisher.has_subscribers, "the listener")
        wait_for(
            lambda: any(
                (each.node_name, each.node_namespace)
                == (self.node.get_name(), self.node.get_namespace())
                for each in node.get_publishers_info_by_topic(topic)
            ),
            "the stranger's publisher",
        )
        return publisher

    def close(self) -> None:
        if self.context.ok():
            self.node.destroy_node()
            self.context.shutdown()


@pytest.fixture
def strangers() -> Iterator[list[Stranger]]:
    made = [Stranger("first"), Stranger("second")]
    yield made
    for each in made:
        each.close()


def batch(model: str) -> TensorBatch:
    geometry = Geometry(320, 240, 1.3, 1.3, 0.0, 52.0)
    return TensorBatch({"images": np.zeros((1, 2), np.float32)}, (geometry,), model, 1, "far")


def errors(node, words: str) -> list[str]:
    status = node.health.status(0)
    return [status.message] if status.level is HealthLevel.ERROR and words in status.message else []


@both_executors
def test_external_publisher_is_refused_and_reported(
    rig: Rig, strangers: list[Stranger], capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    stranger = strangers[0]
    topics = {
        "/ai/tensor": (TensorListAdapter(), batch("stranger"), [pipeline.inference]),
        "/ai/raw_output": (TensorListAdapter(), batch("stranger"), [pipeline.decode]),
        "/ai/inference_state": (
            InferenceStateAdapter(),
            state("efficientnet_lite0", previous="nanodet"),
            [pipeline.decode, pipeline.preprocess],
        ),
    }
    own = {"tensor": "preprocess", "raw_output": "inference", "inference_state": "inference"}
    for topic, (adapter, item, nodes) in topics.items():
        publisher = stranger.publisher(topic, adapter, nodes[0])
        name = own[topic.rpartition("/")[2]]
        sentence = f"{topic}: expected one publisher, got two: /ai/{name} of this process, and"

        def is_told(nodes=nodes, publisher=publisher, item=item, sentence=sentence) -> bool:
            publisher.publish(item)
            return all(errors(node, f"{sentence} refused: /ai/first") for node in nodes)

        wait_for(is_told, f"the stranger on {topic} to be named")
        for _ in range(20):
            publisher.publish(item)
    assert len(pipeline.next(pipeline.detections)) > 0
    assert pipeline.preprocess.parameters.current.model == "nanodet"
    assert pipeline.lost() == {}
    log = capfd.readouterr().err
    assert log.count("/ai/tensor: expected one publisher") == 1
    assert log.count("/ai/inference_state: expected one publisher") == 2  # by each of two nodes


@both_executors
def test_one_external_publisher_is_accepted_until_it_leaves(
    rig: Rig, strangers: list[Stranger], monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_SILENT_NS", "_MAX_SILENT_NS"):
        monkeypatch.setattr(private_topics, limit, 600 * 10**9)
    decode = rig.load("Decode", queue_depth=100)
    topic = "/ai/raw_output"
    timings = rig.tap("/ai/stage_timing")
    first, second = (each.publisher(topic, TensorListAdapter(), decode) for each in strangers)
    first.publish(batch("first"))
    wait_for(lambda: len(timings) == 1, "the first to be heard")

    def is_told() -> bool:
        second.publish(batch("second"))
        return bool(errors(decode, f"{topic}: expected one publisher, got "))

    wait_for(is_told, "the second to be named")
    if errors(decode, "this ROS release does not report the publisher of a message"):
        pytest.skip("this rclpy does not tell publishers apart")
    assert errors(decode, f"{topic}: expected one publisher, got two: /ai/first, and refused")
    first.publish(batch("first"))
    wait_for(lambda: len(timings) == 2, "the first again")
    assert "'second'" not in str(decode.health.take_errors())
    strangers[0].close()

    def is_heard() -> bool:
        second.publish(batch("second"))
        return len(timings) > 2

    wait_for(is_heard, "the second to take over")
    assert "'second'" in str(decode.health.take_errors())


def test_external_publisher_is_accepted_after_the_local_one_ends(
    rig: Rig, strangers: list[Stranger]
) -> None:
    decode = rig.load("Decode", queue_depth=100)
    topic = "/ai/raw_output"
    own = rig.call(lambda: Publisher(rig.container.node, TensorListAdapter(), topic, RELIABLE))
    timings = rig.tap("/ai/stage_timing")
    stranger = strangers[0].publisher(topic, TensorListAdapter(), decode)

    def speaks() -> bool:
        stranger.publish(batch("stranger"))
        return True

    wait_for(lambda: speaks() and errors(decode, f"/{rig.name} of this process"), "an error")
    own.publish(batch("own"))
    wait_for(lambda: len(timings) == 1, "our own")
    rig.call(own.close)
    wait_for(lambda: speaks() and len(timings) > 1, "the stranger to be heard")
    assert "'stranger'" in str(decode.health.take_errors())


def test_duplicate_node_name_is_an_error_with_a_hint(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    """As with two launches of the same pipeline: messages of one reach both."""
    space = f"/{rig.name}/ai"  # nodes of earlier tests may still be known
    twin = Stranger("latency", space)
    words = f"another node is called {space}/latency"
    node = rig.load("Latency", "-r", f"__ns:={space}")
    try:
        wait_for(lambda: errors(node, words), "the twin to be an error")
        assert "namespace:=" in errors(node, words)[0]
        wait_for(lambda: node.health.notes().get("other nodes of this name") == "1", "the twin")
    finally:
        twin.close()
    wait_for(lambda: node.health.notes().get("other nodes of this name") == "0", "its end")
    (line,) = [each for each in capfd.readouterr().err.splitlines() if words in each]
    assert line.startswith("[ERROR]")


@both_executors
def test_equal_names_in_two_namespaces_are_allowed(rig: Rig) -> None:
    space, other = f"/{rig.name}/ai", f"/{rig.name}_2/ai"
    other_node = Stranger("latency", other)
    here = rig.container.node
    wait_for(lambda: ("latency", other) in here.get_node_names_and_namespaces(), "the other")
    node = rig.load("Latency", "-r", f"__ns:={space}")
    looks = []
    node._check_node_name = lambda look=node._check_node_name: looks.append(look())
    try:
        wait_for(lambda: len(looks) > 1, "a look at the graph")
        assert not errors(node, "another node is called")
    finally:
        other_node.close()

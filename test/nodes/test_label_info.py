"""The decode node announces the classes of its model, latched, before their first result."""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from rcl_interfaces.msg import Log
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import String

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.bus import Bus
from edge_inference.core.models.labels import MAX_CLASSES, ModelClasses
from edge_inference.core.models.model_search import find_model
from edge_inference.errors import InputError
from edge_inference.nodes.perception import decode
from perception_rig import Pipeline
from rig import Collected, Outside, Rig, wait_for
from small_model import LABELS, write_model
from standard_messages import find_installed_messages

MODULE = "edge_inference.nodes.conversions.results.label_info"
VISION_MSGS = find_installed_messages("vision_msgs")
needs_vision_msgs = pytest.mark.skipif(
    VISION_MSGS is None, reason="vision_msgs is not installed here"
)
TOPIC = "/ai/label_info"


class LabelInfoDouble(Adapter[ModelClasses]):
    """The classes as JSON, where vision_msgs is not installed."""

    message_type = String

    def to_message(self, item: ModelClasses) -> String:
        return String(data=json.dumps([item.labels, item.threshold]))

    def from_message(self, message: String) -> ModelClasses:
        labels, threshold = json.loads(message.data)
        return ModelClasses(tuple(labels), threshold)


@pytest.fixture
def announced(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Collected:
    """What the decode node announces, with a double of the message where it is not installed."""
    if VISION_MSGS is None:
        double = types.ModuleType(MODULE)
        double.LabelInfoAdapter = LabelInfoDouble  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, MODULE, double)
    return rig.tap(TOPIC)


def edit(folder: Path, **values: Any) -> Path:
    """Replace top-level keys of a model.yaml; a value None takes the key out."""
    file = folder / "model.yaml"
    content = {**yaml.safe_load(file.read_text()), **values}
    file.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))
    return folder


def labels_of(name: str) -> tuple[str, ...]:
    return tuple((find_model(name).folder / "labels.txt").read_text().splitlines())


def set_on_decode(outside: Outside, **values: Any) -> list[Any]:
    return outside.set_parameters(node="/ai/decode", values=values)[-1]


# The node ---------------------------------------------------------------------------------------


def test_it_announces_when_it_is_activated_and_not_before(rig: Rig, announced: Collected) -> None:
    node = rig.load("Decode", autostart=False, model="nanodet")
    rig.call(node.trigger_configure)
    assert announced == []
    rig.call(node.trigger_activate)
    (classes,) = announced
    assert classes.labels == labels_of("nanodet")
    assert classes.threshold == node.get_parameter("confidence").value > 0
    assert classes.stamp_ns > 0
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_activate)
    assert len(announced) == 2


def test_a_change_of_the_threshold_is_announced_and_others_are_right(
    rig: Rig, announced: Collected, outside: Outside
) -> None:
    rig.load("Decode", model="nanodet")
    assert set_on_decode(outside, confidence=0.625) == [True, ""]
    assert announced.wait(2)[1].threshold == 0.625
    assert set_on_decode(outside, confidence=1.5)[0] is False
    assert set_on_decode(outside, iou=0.375) == [True, ""]
    assert {each.threshold for each in announced[1:]} == {0.625}
    assert {each.labels for each in announced} == {labels_of("nanodet")}


def test_a_new_model_is_announced_before_its_first_result(
    rig: Rig, announced: Collected, outside: Outside
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    pipeline.next(pipeline.detections)
    order = Collected()
    for topic in (TOPIC, "/ai/detections", "/ai/classification"):
        Bus.of(rig.context).tap(topic, order.take)
    assert set_on_decode(outside, confidence=0.75) == [True, ""]
    assert set_on_decode(outside, model="efficientnet_lite0") == [True, ""]
    inference = outside.set_parameters(node="/ai/inference", values={"model": "efficientnet_lite0"})
    assert inference[-1] == [True, ""]
    wait_for(lambda: pipeline.send() and pipeline.classes, "a result of the new model")
    named = [type(item).__name__ for item in order]
    new = [
        index
        for index, item in enumerate(order)
        if isinstance(item, ModelClasses) and item.labels == labels_of("efficientnet_lite0")
    ]
    assert len(new) == 1
    assert new[0] < named.index("Classification")
    assert order[new[0]].threshold == 0.0
    # Back again: the threshold that was set then holds, and is announced.
    assert set_on_decode(outside, model="nanodet") == [True, ""]
    wait_for(lambda: pipeline.send() and announced[-1].labels == labels_of("nanodet"))
    assert announced[-1].threshold == 0.75


def test_a_model_that_cannot_be_used_is_not_announced(
    rig: Rig, announced: Collected, outside: Outside, tmp_path: Path, monkeypatch
) -> None:
    pipeline = Pipeline(rig, model=str(write_model(tmp_path / "old")))
    other = edit(write_model(tmp_path / "new"), labels=["a", "b", "c"], golden=None)
    pipeline.next(pipeline.classes)
    restored = []
    declare = decode.Decode._declare

    def fail(self, model) -> None:
        declare(self, model)
        restored.append(model.name)
        declare(self, self._model)
        raise decode.ConfigError("confidence: made to fail")

    monkeypatch.setattr(decode.Decode, "_declare", fail)
    assert set_on_decode(outside, model=str(other)) == [True, ""]
    pipeline.next(pipeline.classes)
    assert restored == ["new"]
    assert {each.labels for each in announced} == {LABELS}
    monkeypatch.undo()
    assert set_on_decode(outside, confidence=0.25) == [True, ""]
    assert (announced.wait(3)[2].labels, announced[2].threshold) == (LABELS, 0.25)


def test_a_late_change_of_a_former_model_is_not_announced(
    rig: Rig, announced: Collected, tmp_path: Path
) -> None:
    node = rig.load("Decode", model=str(write_model(tmp_path / "old")))
    former = node._decoder
    rig.call(lambda: node._load(node.parameters.current))  # makes its parameters anew
    rig.call(node._announce_classes)
    node._announcer.on_change(former)
    assert len(announced) == 2
    node._announcer.on_change(node._decoder)
    assert len(announced) == 3


@pytest.mark.parametrize(
    ("task", "decoder", "threshold"),
    [
        ("classification", {"name": "classification"}, 0.0),
        ("classification", {"name": "classification", "confidence": 0.375}, 0.375),
        ("segmentation", {"name": "segmentation", "threshold": 0.625}, 0.625),
        ("depth", {"name": "depth"}, 0.0),
    ],
)
def test_the_threshold_is_that_of_the_decoder(
    rig: Rig, announced: Collected, tmp_path: Path, task: str, decoder: dict, threshold: float
) -> None:
    folder = edit(write_model(tmp_path / "m"), task=task, decoder=decoder, golden=None, labels=None)
    rig.load("Decode", model=str(folder))
    (classes,) = announced
    assert (classes.labels, classes.threshold) == ((), threshold)


def test_classes_beyond_the_numbers_of_the_message_are_left_out_aloud(
    rig: Rig, announced: Collected, tmp_path: Path
) -> None:
    folder = edit(write_model(tmp_path / "many"), labels="labels.txt", golden=None)
    (folder / "labels.txt").write_text("".join(f"{i}\n" for i in range(70_000)))
    log = Collected()
    node = rig.container.node
    qos = QoSProfile(depth=1000, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    rig.call(lambda: node.create_subscription(Log, "/rosout", log.take, qos))
    rig.load("Decode", model=str(folder))
    words = "only the first 65535 of the 70000 classes of model many"
    wait_for(lambda: any(words in each.msg for each in log), "the warning")


@pytest.mark.skipif(VISION_MSGS is not None, reason="vision_msgs is installed here")
def test_without_vision_msgs_the_topic_does_not_exist(rig: Rig) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    assert TOPIC not in [each.topic_name for each in pipeline.decode.publishers]
    assert len(pipeline.next(pipeline.detections)) > 0


# The message ------------------------------------------------------------------------------------


@needs_vision_msgs
def test_a_late_subscriber_receives_the_last_one(rig: Rig, outside: Outside) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    assert set_on_decode(outside, confidence=0.125) == [True, ""]
    found = outside.listen("/ai/detections", "vision_msgs/Detection2DArray")
    rig.wait_for_subscribers(pipeline.decode, "/ai/detections")
    (message,) = outside.listen(TOPIC, "vision_msgs/LabelInfo", latched=True).wait()
    names = {each["class_id"]: each["class_name"] for each in message["class_map"]}
    assert names == dict(enumerate(labels_of("nanodet")))
    assert message["threshold"] == 0.125
    pipeline.next(pipeline.detections)
    hypotheses = [
        each["hypothesis"]
        for detection in found.wait()[0]["detections"]
        for each in detection["results"]
    ]
    assert hypotheses
    assert {each["class_id"] for each in hypotheses} <= set(names.values())


@needs_vision_msgs
@pytest.mark.parametrize("count", [0, 1, 3, MAX_CLASSES, MAX_CLASSES + 5])
def test_classes_survive(count: int) -> None:
    adapter = importlib.import_module(MODULE).LabelInfoAdapter()
    sent = ModelClasses(tuple(f"class number {i}" for i in range(count)), 0.25, 1_000_000_002)
    back = adapter.from_bytes(adapter.to_bytes(sent))
    assert back == ModelClasses(sent.labels[:65535], 0.25, 1_000_000_002)


@needs_vision_msgs
def test_the_longest_labels_of_a_folder_are_within_the_bounds_of_the_message() -> None:
    adapter = importlib.import_module(MODULE).LabelInfoAdapter()
    names = ("\N{GRINNING FACE}" * 256,) * ((1 << 20) // 1025)
    assert adapter.from_bytes(adapter.to_bytes(ModelClasses(names, 0.5))).labels == names
    short = ("a" * 15,) * MAX_CLASSES  # 1 MiB of lines
    assert adapter.from_bytes(adapter.to_bytes(ModelClasses(short, 0.5))).labels == short
    with pytest.raises(InputError, match="at most 1024 bytes"):
        adapter.from_bytes(adapter.to_bytes(ModelClasses(("a" * 1025,), 0.5)))


@needs_vision_msgs
def test_numbers_without_a_name_and_the_unlabeled_class() -> None:
    adapter = importlib.import_module(MODULE).LabelInfoAdapter()
    entry = VISION_MSGS.VisionClass
    message = VISION_MSGS.LabelInfo(
        class_map=[
            entry(class_id=3, class_name="dog"),
            entry(class_id=65535, class_name="unlabeled"),
            entry(class_id=1, class_name="cup"),
        ]
    )
    assert adapter.from_message(message).labels == ("0", "cup", "2", "dog")

"""Records what the nodes of this process publish into an MCAP file, for a command."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.bus import Bus, Subscription
from edge_inference.composition.reception import RawCallback
from edge_inference.core.images.frame import CompressedFrame, Frame
from edge_inference.core.images.image_file import encode_jpeg
from edge_inference.core.results import RESULT_KINDS, Detections
from edge_inference.errors import EdgeInferenceError
from edge_inference.msg import Segmentation
from edge_inference.nodes.component import FOLLOW_PERIOD_S, SENSOR_DATA
from edge_inference.nodes.conversions.audio import AudioChunkAdapter, SpeechSegmentAdapter
from edge_inference.nodes.conversions.audio_common import (
    AudioDataStampedAdapter,
    AudioStampedAdapter,
)
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.observe.recording.foxglove_annotations import (
    IMAGE_ANNOTATIONS,
    pack_annotations,
)
from edge_inference.observe.recording.mcap_recorder import MAX_WAITING, McapRecorder
from edge_inference.observe.recording.ros_schemas import (
    RosDefinitions,
    RosSchema,
    installed_prefixes,
)

#: What is never recorded: tensors, because they are large, sound, because people speak, and what
#: is compressed for viewers, because images are compressed here.
_LEFT_OUT = (
    CompressedImageAdapter,
    TensorListAdapter,
    AudioChunkAdapter,
    SpeechSegmentAdapter,
    AudioDataStampedAdapter,
    AudioStampedAdapter,
)
#: At most so many images or masks wait to be written.
_MAX_WAITING_IMAGES = 8
#: Any process may publish this one. The bounds are far above what a robot's nodes need.
_DIAGNOSTICS = "/diagnostics"
_MAX_WAITING_DIAGNOSTICS = 200
_EVERY_MESSAGE = QoSProfile(depth=100)
_MAX_DIAGNOSTICS_BYTES = 256 << 10


class RunRecorder(Node):
    """A node of a command, hidden from `ros2 node list`; make it before the pipeline."""

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__("_run_recorder", **node_arguments)
        self._bus = Bus.of(self.context)
        self._definitions = RosDefinitions(installed_prefixes())
        self._compressed = CompressedImageAdapter()
        self._topics: set[str] = set()
        self._untap: list[Callable[[], None]] = []
        self._images: Subscription[Any] | None = None
        self._recorder: McapRecorder | None = None
        self._with_images = False

    def start(self, recorder: McapRecorder, with_images: bool) -> None:
        """Record the topics of publishers that are made from now on, and /diagnostics.

        ``with_images`` records images and overlays, too.
        """
        self._recorder = recorder
        self._with_images = with_images
        find_schema = partial(self._find_schema, DiagnosticArray)
        add = self._add_topic(_DIAGNOSTICS, find_schema, bytes, _MAX_WAITING_DIAGNOSTICS)

        def receive(data: bytes, info: Any) -> None:
            if len(data) <= _MAX_DIAGNOSTICS_BYTES:
                add(data)

        self.create_subscription(
            DiagnosticArray, _DIAGNOSTICS, RawCallback(receive), _EVERY_MESSAGE, raw=True
        )
        self._bus.on_publisher.append(self._add_publisher)

    def subscribe_to_images(
        self, topic: str, is_compressed: bool, on_error: Callable[[EdgeInferenceError], None]
    ) -> None:
        """Record the images that another process publishes on a topic, too."""
        adapter: Adapter[Any] = CompressedImageAdapter() if is_compressed else ImageAdapter()
        add = self._add_image_topic(topic.removesuffix("/compressed"))
        self._images = Subscription(
            self,
            adapter,
            topic,
            lambda image, reception: add(image),
            on_error,
            SENSOR_DATA,
            match_reliability=True,
        )
        self.create_timer(FOLLOW_PERIOD_S, self._images.match_publishers)

    def stop(self) -> None:
        """Tap nothing any more."""
        if self._add_publisher in self._bus.on_publisher:
            self._bus.on_publisher.remove(self._add_publisher)
        while self._untap:
            self._untap.pop()()

    def destroy_node(self) -> None:
        """Stop, and leave the graph."""
        self.stop()
        if self._images is not None:
            self._images.close()
        super().destroy_node()

    def _add_publisher(self, topic: str, adapter: Adapter[Any]) -> None:
        """Tap a topic, unless that is done or it is left out."""
        if topic in self._topics or isinstance(adapter, _LEFT_OUT):
            return
        self._topics.add(topic)
        if isinstance(adapter, ImageAdapter):
            if self._with_images:
                self._tap(topic, self._add_image_topic(topic))
            return
        message_type = adapter.message_type
        is_large = message_type in (Image, Segmentation)
        self._tap(
            topic,
            self._add_topic(
                topic,
                partial(self._find_schema, message_type),
                adapter.to_bytes,
                _MAX_WAITING_IMAGES if is_large else MAX_WAITING,
            ),
        )
        if _is_of_detections(adapter):
            name = f"{topic}/annotations"
            self._tap(topic, self._add_topic(name, lambda: IMAGE_ANNOTATIONS, pack_annotations))

    def _add_image_topic(self, topic: str) -> Callable[[Any], None]:
        # The name by which image_transport and Foxglove know that the images are compressed.
        name, find_schema = f"{topic}/compressed", partial(self._find_schema, CompressedImage)
        return self._add_topic(name, find_schema, self._pack_image, _MAX_WAITING_IMAGES)

    def _add_topic(
        self,
        topic: str,
        find_schema: Callable[[], RosSchema],
        to_bytes: Callable[[Any], bytes],
        max_waiting: int = MAX_WAITING,
    ) -> Callable[[Any], None]:
        assert self._recorder is not None
        return self._recorder.add_topic(topic, find_schema, to_bytes, max_waiting)

    def _tap(self, topic: str, callback: Callable[[Any], None]) -> None:
        self._untap.append(self._bus.tap(topic, callback))

    def _find_schema(self, message_type: type[Any]) -> RosSchema:
        package = message_type.__module__.partition(".")[0]
        return self._definitions.find(f"{package}/msg/{message_type.__name__}")

    def _pack_image(self, image: Frame | CompressedFrame) -> bytes:
        if isinstance(image, Frame):
            image = CompressedFrame(encode_jpeg(image), "jpeg", image.stamp_ns, image.frame_id)
        return self._compressed.to_bytes(image)


def _is_of_detections(adapter: Adapter[Any]) -> bool:
    """Tell whether an adapter is one of those that the kind of result names for detections."""
    name = f"{type(adapter).__module__}:{type(adapter).__name__}"
    kinds = RESULT_KINDS.rows().values()
    return any(name in kind.adapters for kind in kinds if kind.result_type is Detections)

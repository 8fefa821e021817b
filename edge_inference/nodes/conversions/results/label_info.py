"""The classes of a model as ``vision_msgs/LabelInfo``; importing this needs vision_msgs 4."""

from __future__ import annotations

from vision_msgs.msg import LabelInfo, VisionClass

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core.models.labels import MAX_CLASSES, ModelClasses
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.results.bounds import labels_by_class


class LabelInfoAdapter(Adapter[ModelClasses]):
    """Classes as ``vision_msgs/LabelInfo``; ``class_name`` is the ``class_id`` of detections."""

    message_type = LabelInfo
    # Each class takes at most 12 bytes besides its name.
    bounds = MessageBounds(size=2 << 20, counts={"class_map": MAX_CLASSES})

    def to_message(self, item: ModelClasses) -> LabelInfo:
        """Build the message, with only the first classes of a model that has too many."""
        return LabelInfo(
            header=to_header(item.stamp_ns, ""),
            class_map=[
                VisionClass(class_id=number, class_name=label)
                for number, label in enumerate(item.labels[:MAX_CLASSES])
            ],
            threshold=item.threshold,
        )

    def from_message(self, message: LabelInfo) -> ModelClasses:
        """Build the object; classes without a name have their number as name."""
        classes = [each for each in message.class_map if each.class_id < MAX_CLASSES]
        return ModelClasses(
            labels_by_class([c.class_id for c in classes], [c.class_name for c in classes]),
            message.threshold,
            stamp_ns(message.header),
        )

"""Announces the classes of a decode node's model on the topic ``label_info``."""

from __future__ import annotations

import threading
from typing import Any

from edge_inference.composition.bus import Publisher
from edge_inference.core.models.labels import MAX_CLASSES, ModelClasses, read_threshold
from edge_inference.core.models.model import ModelDescription
from edge_inference.nodes.component import LATCHED, Component
from edge_inference.nodes.parameters import NodeParameters


class ClassAnnouncer:
    """Publishes the classes of the model in use, latched, until the node is cleaned up.

    The executor changes the decoder's settings while the worker changes the model, so a change
    counts only while its decoder is the one in use. Nothing is published without vision_msgs,
    because each result in a message of this package has its labels.
    """

    def __init__(self, node: Component) -> None:
        self._node = node
        self._publisher = _make_publisher(node)
        self._lock = threading.Lock()
        self._in_use: tuple[ModelDescription, NodeParameters[Any]] | None = None

    def use(self, model: ModelDescription, decoder: NodeParameters[Any]) -> None:
        """Announce another model, or the same one again."""
        with self._lock:
            self._in_use = model, decoder
            self._publish(model, decoder.current)
        if self._publisher is not None and len(model.labels) > MAX_CLASSES:
            self._node.get_logger().warning(
                f"label_info has only the first {MAX_CLASSES} of the {len(model.labels)} classes "
                f"of model {model.name}: the class numbers of vision_msgs have 16 bits"
            )

    def on_change(self, decoder: NodeParameters[Any]) -> None:
        """Announce changed settings of the decoder, unless another one is in use."""
        with self._lock:
            if self._in_use is not None and decoder is self._in_use[1]:
                self._publish(self._in_use[0], decoder.current)

    def _publish(self, model: ModelDescription, decoder_settings: Any) -> None:
        if self._publisher is not None:
            threshold = read_threshold(decoder_settings)
            self._publisher.publish(ModelClasses(model.labels, threshold, self._node.now_ns()))


def _make_publisher(node: Component) -> Publisher[ModelClasses] | None:
    try:
        from edge_inference.nodes.conversions.results.label_info import LabelInfoAdapter
    except ImportError:
        return None
    return node.make_publisher("label_info", LabelInfoAdapter(), LATCHED)

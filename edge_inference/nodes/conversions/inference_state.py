"""Converts InferenceState: the model and engine that an inference node actually runs."""

from __future__ import annotations

import math

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MAX_PATH_BYTES, MessageBounds
from edge_inference.core import inference_state as core
from edge_inference.msg import InferenceState
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import (
    RATE_HZ,
    SHARE,
    from_optional,
    to_limit,
    to_optional,
)


class InferenceStateAdapter(Adapter[core.InferenceState]):
    """InferenceState; an unknown progress is NaN in the message, None in the object."""

    message_type = InferenceState
    bounds = MessageBounds(texts={"model": MAX_PATH_BYTES, "model_path": MAX_PATH_BYTES})

    def to_message(self, item: core.InferenceState) -> InferenceState:
        """Build the message."""
        return InferenceState(
            header=to_header(item.stamp_ns, item.frame_id),
            node=item.node,
            model=item.model,
            model_path=item.model_path,
            model_name=item.model_name,
            previous_model=item.previous_model,
            backend=item.backend,
            precision=item.precision,
            engine=item.engine,
            takes_images=item.takes_images,
            preparing=item.preparing,
            progress=from_optional(item.progress),
            problem=item.problem,
            max_rate_hz=from_optional(item.max_rate_hz, math.inf),
        )

    def from_message(self, message: InferenceState) -> core.InferenceState:
        """Build the object; raises InputError for numbers out of range."""
        subject = f"InferenceState of {message.node or 'an unnamed node'}"
        return core.InferenceState(
            node=message.node,
            model=message.model,
            model_path=message.model_path,
            model_name=message.model_name,
            previous_model=message.previous_model,
            backend=message.backend,
            precision=message.precision,
            engine=message.engine,
            takes_images=message.takes_images,
            preparing=message.preparing,
            progress=to_optional(message.progress, SHARE, f"{subject}: progress"),
            problem=message.problem,
            max_rate_hz=to_limit(message.max_rate_hz, RATE_HZ, f"{subject}: max_rate_hz"),
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )

"""Adapters for velocities and for the feedback of a plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from geometry_msgs.msg import Twist, TwistStamped, Vector3

from edge_inference.composition.adapter import Adapter
from edge_inference.errors import InputError
from edge_inference.msg import CommandFeedback
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import SHARE, to_number
from edge_inference.nodes.conversions.voice import from_step, to_step
from edge_inference.speech.planning.motion import MotionFeedback, MotionState


class Velocity(NamedTuple):
    """Forward in m/s, counterclockwise in rad/s."""

    linear_mps: float
    angular_radps: float


class TwistAdapter(Adapter[Velocity]):
    """Velocity as ``geometry_msgs/Twist``: along x, about z."""

    message_type = Twist

    def to_message(self, item: Velocity) -> Twist:
        """Build the message."""
        return Twist(linear=Vector3(x=item.linear_mps), angular=Vector3(z=item.angular_radps))

    def from_message(self, message: Twist) -> Velocity:
        """Build the object; raises InputError for NaN and infinity."""
        velocity = Velocity(float(message.linear.x), float(message.angular.z))
        if not all(map(math.isfinite, velocity)):
            raise InputError(f"Twist: expected finite numbers, got {velocity}")
        return velocity


class TwistStampedAdapter(Adapter[Velocity]):
    """Velocity as ``geometry_msgs/TwistStamped``, stamped when it is sent."""

    message_type = TwistStamped

    def __init__(self, frame_id: str, now_ns: Callable[[], int]) -> None:
        self._frame_id = frame_id
        self._now_ns = now_ns
        self._plain = TwistAdapter()

    def to_message(self, item: Velocity) -> TwistStamped:
        """Build the message."""
        header = to_header(self._now_ns(), self._frame_id)
        return TwistStamped(header=header, twist=self._plain.to_message(item))

    def from_message(self, message: TwistStamped) -> Velocity:
        """Build the object; raises InputError for NaN and infinity."""
        return self._plain.from_message(message.twist)


class FeedbackAdapter(Adapter[MotionFeedback]):
    """The progress of a plan."""

    message_type = CommandFeedback

    def to_message(self, item: MotionFeedback) -> CommandFeedback:
        """Build the message."""
        message = CommandFeedback(
            header=to_header(item.stamp_ns, ""),
            state=item.state.value,
            intent=item.intent,
            index=item.index,
            steps=item.steps,
            progress=item.progress,
            problem=item.problem,
        )
        if item.step is not None:
            message.step = to_step(item.step)
        return message

    def from_message(self, message: CommandFeedback) -> MotionFeedback:
        """Build the object; raises InputError for an unknown state."""
        try:
            state = MotionState(message.state)
        except ValueError:
            known = ", ".join(each.value for each in MotionState)
            raise InputError(
                f"CommandFeedback: state: expected one of {known}, got {message.state!r}"
            ) from None
        return MotionFeedback(
            state=state,
            intent=message.intent,
            step=from_step(message.step) if message.step.action else None,
            index=int(message.index),
            steps=int(message.steps),
            progress=to_number(message.progress, SHARE, "CommandFeedback: progress"),
            problem=message.problem,
            stamp_ns=stamp_ns(message.header),
        )

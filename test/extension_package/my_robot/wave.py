"""A spoken action: waves the arm through two topics of its driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_inference.core.settings import setting
from edge_inference.core.voice import ActionStep, IntentSlot
from edge_inference.speech.actions.action import Action
from edge_inference.speech.actions.executor import ActionExecutor, ExecutorRow
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.slots import NumberSlot, SlotValues


@dataclass(frozen=True)
class WaveLimits:
    """The section ``action_limits.wave`` of the limits file."""

    max_times: int = setting(3, "how often the arm may wave in one step", minimum=1, maximum=20)


def _plan(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    times = values.number("times")
    return [ActionStep("wave", values=(IntentSlot("times", 1.0 if times is None else times),))]


def _objection(step: ActionStep, limits: VoiceLimits) -> str:
    times, max_times = step.value("times"), limits.of(WaveLimits).max_times
    if not isinstance(times, float) or not times.is_integer() or times < 1:
        return "I can only wave a whole number of times"
    if times > max_times:
        return f"Waving {times:g} times is too much. I may wave {max_times} times"
    return ""


def _describe(step: ActionStep) -> str:
    return f"waving {step.value('times'):g} times"


class WaveExecutor(ActionExecutor):
    """Asks the arm to wave, and waits until it says that it rests."""

    def __init__(self, node: Any, limits: VoiceLimits) -> None:
        from std_msgs.msg import Bool, UInt8

        self._message = UInt8
        self._waves = node.create_publisher(UInt8, "/arm/wave", 10)
        self._is_done = True
        node.create_subscription(Bool, "/arm/rests", self._on_rest, 1)

    def start(self, step: ActionStep) -> None:
        """Ask for the waves."""
        self._is_done = False
        self._waves.publish(self._message(data=int(step.value("times") or 0)))

    def outcome(self) -> str | None:
        """Return that it is done once the arm rests."""
        return "" if self._is_done else None

    def cancel(self) -> None:
        """Ask for no more waves."""
        self._waves.publish(self._message(data=0))

    def _on_rest(self, message: Any) -> None:
        self._is_done = message.data


WAVE = Action(
    name="wave",
    refusal="I cannot wave",
    plan=_plan,
    slots=(NumberSlot("times"),),
    executor="wave",
    uses=("times",),
    objection=_objection,
    limits_class=WaveLimits,
    describe=_describe,
    examples=(("shake your hand two times", "wave times=two"),),
)
WAVE_EXECUTOR = ExecutorRow("wave", WaveExecutor)

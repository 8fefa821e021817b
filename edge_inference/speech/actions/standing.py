"""The actions of a robot that stands: stop, look, say."""

from __future__ import annotations

from edge_inference.core.voice import STOP as STOP_NAME
from edge_inference.core.voice import ActionStep
from edge_inference.speech.actions.action import (
    MOTION,
    SAY,
    SCENE,
    Action,
    StandardIntent,
    never_objects,
)
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.slots import SlotValues, WordSlot


def _plan_stop(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    return [ActionStep(STOP_NAME)]


def _plan_look(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    return [ActionStep("look", target=values.word("thing"))]


def _say_objection(step: ActionStep, limits: VoiceLimits) -> str:
    return "" if step.target.strip() else "There is nothing to say"


STOP = Action(
    name=STOP_NAME,
    refusal="I cannot stop",
    plan=_plan_stop,
    executor=MOTION,
    objection=never_objects,
    describe=lambda step: "stopping",
    moves_robot=False,
    standard_intent=StandardIntent("STOP_ACTIVITY"),
    is_default=True,
)
LOOK = Action(
    name="look",
    refusal="I cannot see",
    plan=_plan_look,
    slots=(WordSlot("thing"),),
    executor=SCENE,
    uses=("target",),
    objection=never_objects,
    describe=lambda step: f"looking for the {step.target}" if step.target else "looking",
    moves_robot=False,
    is_default=True,
)
SAYING = Action(
    name="say",
    refusal="I cannot speak",
    executor=SAY,
    uses=("target",),
    objection=_say_objection,
    describe=lambda step: f"saying {step.target}",
    moves_robot=False,
    is_default=True,
)

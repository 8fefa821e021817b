"""Places and things: the actions that navigation or an arm executes."""

from __future__ import annotations

from edge_inference.core.voice import ActionStep
from edge_inference.speech.actions.action import NAVIGATION, Action, StandardIntent
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.slots import SlotValues, WordSlot

#: The executor of pick and place; a package for a robot with an arm provides it.
ARM = "arm"


def _plan_go_to(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    return [ActionStep("go_to", target=values.word("place"))]


def _plan_pick(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    return [ActionStep("pick", target=values.word("thing"))]


def _plan_place(values: SlotValues, limits: VoiceLimits) -> list[ActionStep]:
    place = values.word("place")
    steps = [ActionStep("go_to", target=place)] if place else []
    return [*steps, ActionStep("place", target=values.word("thing"))]


def _place_objection(step: ActionStep, limits: VoiceLimits) -> str:
    if step.target in limits.places:
        return ""
    known = ", ".join(limits.places) or "no place"
    return f"I do not know where {step.target or 'that'} is. I know {known}"


def _thing_objection(step: ActionStep, limits: VoiceLimits) -> str:
    things = limits.plan.things
    if step.target in things:
        return ""
    known = ", ".join(things) or "nothing"
    return f"I may not handle {step.target or 'that'}. I may handle {known}"


GO_TO = Action(
    name="go_to",
    refusal="I cannot find my way to places",
    plan=_plan_go_to,
    slots=(WordSlot("place"),),
    executor=NAVIGATION,
    uses=("target",),
    objection=_place_objection,
    describe=lambda step: f"going to the {step.target}",
    has_time_limit=False,  # of a journey; navigation reports when it gives up
    standard_intent=StandardIntent("MOVE_TO", {"place": "goal"}),
    is_default=True,
)
PICK = Action(
    name="pick",
    refusal="I cannot pick things up",
    plan=_plan_pick,
    slots=(WordSlot("thing"),),
    executor=ARM,
    uses=("target",),
    objection=_thing_objection,
    describe=lambda step: f"picking up the {step.target}",
    standard_intent=StandardIntent("GRAB_OBJECT", {"thing": "object"}),
)
PLACE = Action(
    name="place",
    refusal="I cannot put things down",
    plan=_plan_place,
    slots=(WordSlot("thing"), WordSlot("place")),
    executor=ARM,
    uses=("target",),
    objection=_thing_objection,
    describe=lambda step: f"putting down the {step.target}",
    standard_intent=StandardIntent("PLACE_OBJECT", {"thing": "object", "place": "recipient"}),
)

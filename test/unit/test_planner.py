"""An intent becomes a plan within the limits, or a spoken reason of refusal."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from edge_inference.core.voice import ActionPlan, ActionStep, Intent, IntentArray, IntentSlot
from edge_inference.errors import ConfigError
from edge_inference.speech.actions.limits import NamedPlace, PlanLimits, VoiceLimits
from edge_inference.speech.actions.limits_file import read_limits
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.stop_phrases import is_stop
from edge_inference.speech.planning.planner import ActionPlanner

SHIPPED = Path(__file__).parents[2] / "config" / "voice" / "limits.yaml"
LIMITS = VoiceLimits(
    plan=PlanLimits(actions=("move", "turn", "go_to", "pick", "look", "stop"), things=("cup",)),
    places={"kitchen": NamedPlace(1.0, 2.0)},
)


def intent(name: str, **slots: float | str) -> IntentArray:
    return given(name, *(IntentSlot(key, value) for key, value in slots.items()))


def given(name: str, *slots: IntentSlot) -> IntentArray:
    intents = (Intent(name, {slot.name: slot for slot in slots}),) if name else ()
    return IntentArray(intents, 0.9, name, "grammar", stamp_ns=5, frame_id="microphone")


def join(*parts: IntentArray) -> IntentArray:
    return replace(parts[0], intents=tuple(each for part in parts for each in part.intents))


def planned(*parts: IntentArray) -> ActionPlan:
    return ActionPlanner(LIMITS).plan(join(*parts))


@pytest.mark.parametrize(
    ("asked", "steps", "said"),
    [
        (
            intent("move", direction="forward", distance=10.0),
            [ActionStep("move", distance_m=10.0, speed_mps=0.25)],
            "going forward 10 meters",
        ),
        (
            intent("move", direction="backward", distance=0.4, speed=0.1),
            [ActionStep("move", distance_m=-0.4, speed_mps=0.1)],
            "going back 0.4 meters",
        ),
        (
            intent("move", direction="forward"),
            [ActionStep("move", distance_m=0.5, speed_mps=0.25)],
            "going forward 0.5 meters",
        ),
        (
            intent("move", direction="forward", duration=4.0),
            [ActionStep("move", distance_m=1.0, speed_mps=0.25)],
            "going forward 1 meters",
        ),
        (
            intent("turn", direction="left"),
            [ActionStep("turn", angle_rad=math.pi / 2, rate_radps=0.5)],
            "turning left 90 degrees",
        ),
        (
            intent("turn", direction="right", angle=math.pi / 4),
            [ActionStep("turn", angle_rad=-math.pi / 4, rate_radps=0.5)],
            "turning right 45 degrees",
        ),
        (
            intent("turn", direction="around"),
            [ActionStep("turn", angle_rad=math.pi, rate_radps=0.5)],
            "turning left 180 degrees",
        ),
        (
            intent("go_to", place="kitchen"),
            [ActionStep("go_to", target="kitchen")],
            "going to the kit",
        ),
        (intent("pick", thing="cup"), [ActionStep("pick", target="cup")], "picking up the cup"),
        (intent("look"), [ActionStep("look")], "looking"),
        (intent("stop"), [ActionStep("stop")], "stopping"),
    ],
)
def test_an_intent_becomes_steps(asked: IntentArray, steps: list[ActionStep], said: str) -> None:
    plan = planned(asked)
    assert plan.steps == tuple(steps)
    assert not plan.is_refused
    assert plan.reason.startswith(said)
    assert (plan.stamp_ns, plan.frame_id, plan.intent) == (5, "microphone", *asked.names)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (intent("move", distance=10.1), "10.1 meters is too much. I may do 10 meters"),
        (intent("move", distance=0.0), "The distance is zero"),
        (intent("move", distance=1.0, speed=0.0), "The speed is zero"),
        (intent("move", distance=1.0, speed=2.0), "The speed of 2 meters per second is too much"),
        (intent("turn", angle=7.0), "degrees is too much. I may do 360 degrees"),
        (intent("go_to", place="moon"), "where moon is. I know kitchen"),
        (intent("go_to"), "where that is"),
        (intent("pick", thing="baby"), "I may not handle baby. I may handle cup"),
        (intent("place", thing="cup"), "I cannot put things down"),
        (intent("sing_loud"), "I do not know how to sing loud"),
        # An invalid slot must not turn the intent into another command.
        (intent("move", distance="far"), "The distance far is not a number"),
        (intent("move", direction="up"), "I do not know the direction up. I know forward, back"),
        (intent("turn", direction="forward"), "I do not know the direction forward. I know left"),
        (intent("move", direction=2.0), "The direction is a number"),
        (intent("move", distanse=3.0), "I do not know what distanse means for move"),
        (intent("go_to", place="kitchen", distance=1.0), "what distance means for go to"),
        (given("move", IntentSlot("distance", 5.0, "ft")), "The distance is in ft. I need it in m"),
        (given("turn", IntentSlot("angle", 1.0, "m")), "The angle is in m. I need it in rad"),
        (intent("move", distance=-2.0), "The distance of -2 is less than nothing"),
        (intent("move", duration=-2.0), "The duration of -2 is less than nothing"),
        (intent("turn", angle=-1.0, direction="right"), "less than nothing"),
        (intent("move", speed=math.nan), "The speed is not a number"),
        (intent("move", duration=math.inf), "The duration is not a number"),
        (intent("move", distance=1.0, duration=1.0), "for a distance or for a time, not for both"),
        (intent("move", duration=1e300, speed=1e300), "The distance is not a number"),
        (intent("move", distance=10.0, speed=0.01), "would take 1e+03 seconds. I may take 60"),
        (intent("go_to", place=3.0), "The place is a number. I need a word"),
        (replace(intent(""), intents=(Intent(""),)), "I do not know how to do that"),
        (join(intent("move"), intent("confirm")), "I do not know how to confirm"),
        (intent("say"), "I do not know how to say"),
        (intent(""), "I did not understand that"),
        (replace(intent(""), problem="the place is not known"), "the place is not known"),
        (replace(intent("move"), problem="that was cut off"), "that was cut off"),
    ],
)
def test_unknown_or_unsafe_intent_is_refused(asked: IntentArray, reason: str) -> None:
    plan = planned(asked)
    assert plan.is_refused
    assert plan.steps == ()
    assert reason in plan.reason


def test_reason_is_bounded() -> None:
    assert len(planned(replace(intent(""), problem="word " * 2000)).reason) < 400
    assert len(planned(intent("x" * 10_000)).reason) < 400


@pytest.mark.parametrize(
    ("name", "now_s", "reason"),
    [
        ("move", 2.9, "going forward"),
        ("move", 3.1, "That was said 3.1 seconds ago, so I leave it"),
        ("move", -3.1, "That was said 3.1 seconds from now: two clocks disagree"),
        ("stop", 100.0, "stopping"),
        ("", 100.0, "I did not understand that"),
    ],
)
def test_too_old_intent_is_refused(name: str, now_s: float, reason: str) -> None:
    asked = replace(intent(name), stamp_ns=10**18)
    assert reason in ActionPlanner(LIMITS).plan(asked, 10**18 + round(now_s * 1e9)).reason


def test_a_sequence_is_one_plan() -> None:
    plan = planned(intent("move", distance=2.0), intent("turn", direction="left"))
    assert [step.action for step in plan.steps] == ["move", "turn"]
    assert plan.reason == "going forward 2 meters, then turning left 90 degrees"


def test_no_step_follows_a_stop() -> None:
    plan = planned(intent("move", distance=2.0), intent("stop"), intent("turn", angle=1.0))
    assert [step.action for step in plan.steps] == ["move", "stop"]
    assert plan.reason == "going forward 2 meters, then stopping"


def test_invalid_part_refuses_the_whole_sequence() -> None:
    plan = planned(intent("move", distance=2.0), intent("go_to", place="moon"))
    assert plan.is_refused


def test_too_long_a_sequence_is_refused() -> None:
    assert "9 steps are too many" in planned(*[intent("look")] * 9).reason


UNSURE = replace(intent("move", distance=2.0), source="embedding", needs_confirmation=True)


@pytest.mark.parametrize(
    ("answer", "later_s", "moves", "reason"),
    [
        ("confirm", 3, True, "going forward 2 meters"),
        ("deny", 3, False, "Then I leave it"),
        ("confirm", 11, False, "I asked 11.0 seconds ago, and wait for 10; please say it again"),
        ("deny", 11, False, "Then I leave it"),
    ],
)
def test_uncertain_intent_waits_for_an_answer(
    answer: str, later_s: int, moves: bool, reason: str
) -> None:
    planner = ActionPlanner(LIMITS)
    question = planner.plan(UNSURE)
    assert question.is_refused
    assert question.reason == "Did you mean: going forward 2 meters? Say yes or no"
    stamp_ns = UNSURE.stamp_ns + later_s * 10**9
    plan = planner.plan(replace(intent(answer), stamp_ns=stamp_ns))
    assert bool(plan.steps) is moves
    assert reason in plan.reason
    assert plan.stamp_ns == stamp_ns


def test_sequence_with_an_uncertain_part_waits_as_a_whole() -> None:
    whole = replace(join(intent("turn", direction="left"), UNSURE), needs_confirmation=True)
    assert "then going forward 2 meters? Say yes" in ActionPlanner(LIMITS).plan(whole).reason


def test_an_answer_counts_once_and_only_to_a_question() -> None:
    planner = ActionPlanner(LIMITS)
    assert planner.plan(intent("confirm")).is_refused
    planner.plan(UNSURE)
    planner.plan(intent("look"))
    assert planner.plan(intent("confirm")).is_refused


def test_problem_without_a_text_leaves_the_question_open() -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    planner.plan(replace(intent(""), problem="I do not understand 'hum'"))
    assert not planner.plan(intent("confirm")).is_refused


def test_an_uncertain_yes_is_no_answer() -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    maybe = replace(intent("confirm"), source="embedding", needs_confirmation=True)
    assert planner.plan(maybe).is_refused
    assert "say it again" in planner.plan(intent("confirm")).reason


def test_an_uncertain_no_is_a_no() -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    maybe = replace(intent("deny"), source="embedding", needs_confirmation=True)
    assert planner.plan(maybe).reason == "Then I leave it"
    assert planner.plan(intent("confirm")).is_refused


def test_yes_before_the_question_is_no_answer() -> None:
    planner = ActionPlanner(LIMITS)
    second = 10**9
    planner.plan(UNSURE, now_ns=2 * second)
    early = replace(intent("confirm"), stamp_ns=second)
    assert planner.plan(early, now_ns=2 * second).reason == "I have not asked anything"


def test_time_to_answer_uses_the_steady_clock_too() -> None:
    steady_ns = 0
    planner = ActionPlanner(LIMITS, steady_ns=lambda: steady_ns)
    for waits_s, is_in_time in ((9.9, True), (10.1, False)):
        planner.plan(UNSURE, now_ns=0)
        steady_ns += int(waits_s * 1e9)
        assert bool(planner.plan(intent("confirm"), now_ns=0).steps) is is_in_time


def test_question_is_never_too_old() -> None:
    plan = ActionPlanner(LIMITS).plan(UNSURE, now_ns=3600 * 10**9)
    assert plan.reason.startswith("Did you mean")


def test_any_object_may_be_looked_for() -> None:
    assert planned(intent("look", thing="elephant")).steps == (
        ActionStep("look", target="elephant"),
    )


def test_intent_that_would_be_refused_gives_no_question() -> None:
    planner = ActionPlanner(LIMITS)
    far = replace(intent("move", distance=99.0), needs_confirmation=True)
    assert "too much" in planner.plan(far).reason
    assert planner.plan(intent("confirm")).reason == "I have not asked anything"


def test_shipped_limits_are_valid() -> None:
    limits = read_limits(SHIPPED)
    assert limits.places["kitchen"].frame_id == "map"
    assert not ActionPlanner(limits).plan(intent("go_to", place="kitchen")).is_refused
    grammar = read_grammar(SHIPPED.with_name("grammar.yaml"))
    assert {slot.value for _, slot in grammar.kinds["place"].placeholders("")} == set(limits.places)
    assert {slot.value for _, slot in grammar.kinds["thing"].placeholders("")} == set(
        limits.plan.things
    )
    full_turn = intent("turn", angle=2 * math.pi)
    assert not ActionPlanner(limits).plan(full_turn).is_refused


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "empty"),
        ("speed: 1\n", "line 1, speed: unknown key"),
        ("motion:\n  max_speed_mps: 50\n", "line 2, motion.max_speed_mps: expected a number"),
        ("motion:\n  default_speed_mps: 2.0\n", "line 2, motion: default_speed_mps: 2 is above"),
        ("motion: 1\n", "expected a mapping"),
        ("plan:\n  actions: [move]\n", "stop must be among them"),
        ("plan:\n  actions: [fly, stop]\n", "line 2, plan.actions: unknown action 'fly'"),
        ("plan:\n  actions: []\n", "line 2, plan.actions: expected at least stop"),
        ("action_limits:\n  move: {}\n", "line 2, action_limits.move: unknown key"),
        ("places:\n  here: {x_m: 1.0}\n", "line 2, places.here.y_m: missing"),
        ("places:\n  '': {x_m: 1, y_m: 2}\n", "line 2, places: expected a name for the place"),
        ("places:\n  here: {x_m: 1, y_m: 2, frame_id: ''}\n", "frame_id: expected the name"),
        ("motion:\n  max_speed_mps: -1\n", "max_speed_mps: expected a number from 0.01 to 5"),
        ("motion:\n  max_distance_m: 0\n", "expected a number from 0.01 to 10000 .m., got 0"),
        ("motion:\n  acceleration_mps2: .inf\n", "expected a number from 0.01 to 50 .*got inf"),
        ("motion:\n  max_angle_rad: .nan\n", "max_angle_rad: expected a number .*got nan"),
        ("plan:\n  max_steps: -1\n", "expected an integer from 1 to 100, got -1"),
        ("plan:\n  dead_man_s: 0.01\n", "dead_man_s: expected a number from 0.1 to 2"),
        ("motion: {}\nmotion: {}\n", "duplicate key, on lines 1 and 2"),
    ],
)
def test_invalid_limits_are_reported_with_their_line(tmp_path: Path, text: str, error: str) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=error):
        read_limits(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("Stop!", True),
        ("stop stop stop", True),
        ("Please stop now.", True),
        ("No, no, STOP", True),
        ("Stop it right there", True),
        ("halt", True),
        ("go forward. Stop", True),
        ("Don't stop", False),
        ("do not stop", False),
        ("the stop sign is red", False),
        ("stopping distance", False),
        ("go forward and stop", False),
        ("go to the shop", False),
        ("please", False),
        ("Cancel!", True),
        ("Wait.", True),
        ("hold on, please", True),
        ("No, no, no!", True),
        ("no no", False),
        ("Don't move", True),
        ("do not move", True),
        ("please don't you move", False),
        ("go forward and wait", False),
        ("don't wait", False),
        ("hold the bottle", False),
    ],
)
def test_stop_is_planned(text: str, expected: bool) -> None:
    assert is_stop(text) is expected

"""Closed questions: a later yes moves nothing and gets the reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_inference.core.voice import ActionPlan, Intent, IntentArray, IntentSlot, Transcript
from edge_inference.speech.actions.limits import PlanLimits, VoiceLimits
from edge_inference.speech.planning.planner import ActionPlanner

LIMITS = VoiceLimits(plan=PlanLimits(actions=("move", "turn", "go_to", "look", "stop")))


def intent(name: str) -> IntentArray:
    intents = (Intent(name),) if name else ()
    return IntentArray(intents, 0.9, name, "grammar", stamp_ns=5, frame_id="microphone")


UNSURE = replace(
    intent("move"),
    intents=(Intent("move", {"distance": IntentSlot("distance", 2.0)}),),
    source="embedding",
    needs_confirmation=True,
)
TURNED_DOWN = [
    *("no", "No!", "nope", "nah", "don't", "Don\u2019t.", "DO NOT", "don't do that", "no don't"),
    *("no no", "never mind", "Nevermind", "not now", "no thanks", "rather not", "please don't"),
    *(
        "cancel",
        "stop",
        "\uff33\uff34\uff2f\uff30",
        "slow down and stop",
        "wait",
        "only if I say so",
    ),
    *("I don't want that", "you mustn't", "go forward no don't", "don't stop"),
]


def make_transcript(text: str, later_s: float, is_final: bool = True) -> Transcript:
    stamp_ns = UNSURE.stamp_ns + int(later_s * 1e9)
    return Transcript(text, 0.9, "command", stamp_ns, is_final)


def answered(planner: ActionPlanner, name: str = "confirm", later_s: float = 5) -> ActionPlan:
    return planner.plan(replace(intent(name), stamp_ns=UNSURE.stamp_ns + int(later_s * 1e9)))


@pytest.mark.parametrize("is_final", [True, False])
@pytest.mark.parametrize("text", TURNED_DOWN)
def test_yes_after_a_no_moves_nothing(text: str, is_final: bool) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    planner.observe(make_transcript(text, 2, is_final))
    late = answered(planner)
    assert late.is_refused
    assert late.reason == f"You said {text!r} after I had asked, so I leave it; please say it again"
    assert answered(planner).reason == "I have not asked anything"
    planner.plan(UNSURE)
    assert not answered(planner).is_refused


@pytest.mark.parametrize("text", [text for text in TURNED_DOWN if text != "cancel"])
def test_intent_without_a_transcript_closes_the_question_too(text: str) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    nothing = replace(intent(""), text=text, problem="I do not understand")
    left = planner.plan(nothing)
    assert (left.intent, left.is_refused, left.reason) == ("deny", True, "Then I leave it")
    assert answered(planner).is_refused
    assert planner.plan(nothing).reason == "I do not understand"


YES = [
    *("yes yes", "yeah", "Yep!", "sure", "Okay.", "okay, go ahead", "yes please", "that's right"),
    *("all right", "do it", "oh, of course"),
]


@pytest.mark.parametrize("text", YES)
def test_affirmation_outside_the_grammar_is_a_yes(text: str) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    planner.observe(make_transcript(text, 2))
    unknown = IntentArray((), 0.0, text, "unknown", UNSURE.stamp_ns + 2 * 10**9, "what is that")
    assert [step.action for step in planner.plan(unknown).steps] == ["move"]
    assert planner.plan(unknown).is_refused  # it answers only one question


@pytest.mark.parametrize("source", ["grammar", "language_model"])
def test_blocked_or_uncertain_yes_is_no_answer(source: str) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    problem = "I did not hear that well"
    doubtful = replace(intent(""), text="yeah", source=source, problem=problem)
    assert planner.plan(doubtful).is_refused
    assert answered(planner).is_refused


@pytest.mark.parametrize(
    "text",
    [
        *(
            "wrong",
            "negative",
            "I mean left",
            "stay",
            "yes but left",
            "okay no",
            "yeah right there",
        ),
        *("right", "sure is cold", "hum", "yes if you like"),
    ],
)
def test_text_other_than_a_yes_closes_the_question(text: str) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    planner.observe(make_transcript(text, 2))
    unknown = IntentArray((), 0.0, text, "unknown", UNSURE.stamp_ns + 2 * 10**9, "what is that")
    assert planner.plan(unknown).reason == "Then I leave it"
    late = answered(planner)
    assert late.reason == f"You said {text!r} after I had asked, so I leave it; please say it again"


@pytest.mark.parametrize(
    ("meant", "reason"),
    [
        (intent("deny"), "Then I leave it"),
        (replace(intent(""), problem="none of the phrases", text=""), "Then I leave it"),
        (intent("stop"), "stopping"),
    ],
)
def test_no_is_answered_once(meant: IntentArray, reason: str) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    planner.observe(make_transcript("don't", 2, is_final=False))
    planner.observe(make_transcript("don't do that", 2.2))
    assert planner.plan(meant).reason == reason
    assert planner.plan(intent("deny")).reason == "I have not asked anything"


@pytest.mark.parametrize("text", ["", "hum", "yes", "go on", "I know"])
def test_text_without_a_rejection_leaves_the_question_open(text: str) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    planner.observe(make_transcript(text, 2))
    assert not answered(planner).is_refused


@pytest.mark.parametrize(
    ("later_s", "is_open"), [(-1.0, True), (0.0, True), (0.01, False), (8.0, False)]
)
def test_only_text_after_the_question_closes_it(later_s: float, is_open: bool) -> None:
    """The command itself may arrive again, as a slower transcript."""
    question = replace(UNSURE, stamp_ns=100 * 10**9)
    planner = ActionPlanner(LIMITS)
    planner.plan(question)
    planner.observe(
        replace(make_transcript("no", 0), stamp_ns=question.stamp_ns + int(later_s * 1e9))
    )
    yes = replace(intent("confirm"), stamp_ns=109 * 10**9)
    assert planner.plan(yes).is_refused is not is_open


def test_custom_stop_words_close_the_question() -> None:
    planner = ActionPlanner(LIMITS, stop_words=("basta",))
    planner.plan(UNSURE)
    planner.observe(make_transcript("basta", 2))
    assert answered(planner).is_refused


@pytest.mark.parametrize("name", ["look", "stop", "go_to", "sing"])
def test_another_command_closes_the_question(name: str) -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    planner.plan(intent(name))
    assert answered(planner).reason.startswith("You have asked for something else since, so I")


def test_closed_question_is_not_answered() -> None:
    planner = ActionPlanner(LIMITS)
    planner.close_question("The rules have changed")
    assert answered(planner).reason == "I have not asked anything"
    planner.plan(UNSURE)
    planner.close_question("The rules have changed")
    assert answered(planner).reason.startswith("The rules have changed, so I leave it")


def test_yes_after_an_answered_no_moves_nothing() -> None:
    planner = ActionPlanner(LIMITS)
    planner.plan(UNSURE)
    answered(planner, "deny", 2)
    assert answered(planner).reason == "You said no, so I leave it; please say it again"

"""Utterances, tracked by the stamp of their last word."""

from __future__ import annotations

import numpy as np

from edge_inference.cli.voice.utterance_tracker import Utterance, UtteranceTracker
from edge_inference.core.audio import SpeechSegment
from edge_inference.core.voice import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.speech.planning.motion import MotionFeedback, MotionState

SAID_NS = 1_000_000_000


class Listener:
    def __init__(self) -> None:
        self.now_ns = SAID_NS
        self.finished: list[Utterance] = []
        self.tracker = UtteranceTracker(lambda: self.now_ns, self.finished.append)

    def at(self, after_ms: float) -> UtteranceTracker:
        self.now_ns = SAID_NS + round(after_ms * 1e6)
        return self.tracker


def speech(stamp_ns: int = SAID_NS, is_final: bool = True) -> SpeechSegment:
    return SpeechSegment(np.zeros(16, np.float32), stamp_ns - 1, stamp_ns, is_final)


def transcript(text: str, problem: str = "") -> Transcript:
    return Transcript(text, 0.9, "command", SAID_NS, problem=problem)


def intent(name: str, **more) -> IntentArray:
    slots = {"distance": IntentSlot("distance", 10.0, "m")}
    intents = (Intent(name, slots),) if name else ()
    return IntentArray(intents, 0.9, "go forward", "grammar", SAID_NS, **more)


def test_an_utterance_goes_through_all_stages() -> None:
    listener = Listener()
    listener.at(200).add_speech(speech())
    listener.at(250).add_transcript(transcript("go forward ten meters"))
    listener.at(251).add_intents(intent("move"))
    assert listener.finished == []
    plan = ActionPlan("move", (ActionStep("move", distance_m=10.0, speed_mps=0.25),), SAID_NS)
    listener.at(252).add_plan(plan)
    listener.at(253).add_velocity((0.0, 0.0))
    assert listener.finished == []
    listener.at(260).add_velocity((0.01, 0.0))
    (utterance,) = listener.finished
    output = utterance.as_json()
    times = {"speech": 200.0, "text": 250.0, "intent": 251.0, "plan": 252.0, "command": 260.0}
    assert output["ms"] == times
    assert output["intents"] == [{"name": "move", "slots": {"distance": 10.0}}]
    assert output["steps"] == ["move 10 m 0.25 m/s"]
    assert utterance.describe().startswith('"go forward ten meters" -> move 10 m 0.25 m/s (ms ')
    assert (listener.tracker.begun, listener.tracker.ended) == (1, 1)


def test_an_utterance_without_a_plan_has_a_reason() -> None:
    for problem in ("not in the grammar", "unknown place"):
        listener = Listener()
        listener.at(200).add_speech(speech())
        if problem == "unknown place":
            listener.at(250).add_transcript(transcript("go to the moon"))
            listener.at(251).add_intents(intent("", problem=problem))
        else:
            listener.at(250).add_transcript(transcript("", problem))
        (utterance,) = listener.finished
        assert utterance.reason == problem
        assert f"nothing: {problem}" in utterance.describe()


def test_an_intent_that_needs_confirmation_is_not_planned() -> None:
    listener = Listener()
    listener.at(200).add_speech(speech())
    listener.at(251).add_intents(intent("move", needs_confirmation=True))
    assert listener.finished[0].as_json()["needs_confirmation"]


def test_partial_results_and_unknown_stamps_do_not_count() -> None:
    listener = Listener()
    listener.at(100).add_speech(speech(is_final=False))
    listener.at(250).add_transcript(transcript("stop"))
    listener.at(252).add_plan(ActionPlan("stop", (), SAID_NS))
    assert (listener.finished, listener.tracker.begun) == ([], 0)


def test_an_utterance_that_never_moves_is_finished_at_the_end() -> None:
    listener = Listener()
    listener.at(200).add_speech(speech())
    listener.at(252).add_plan(ActionPlan("move", (ActionStep("move", distance_m=1.0),), SAID_NS))
    listener.tracker.finish_open()
    assert "command" not in listener.finished[0].after_ms


def stop(listener: Listener, start_ns: int) -> None:
    """Say stop, all stages of it."""
    segment = SpeechSegment(np.zeros(16, np.float32), start_ns, SAID_NS)
    listener.at(200).add_speech(segment)
    listener.at(250).add_transcript(transcript("stop"))
    listener.at(251).add_intents(intent("stop"))
    listener.at(252).add_plan(ActionPlan("stop", (ActionStep("stop"),), SAID_NS))


def test_stop_acts_with_zero_velocity() -> None:
    listener = Listener()
    listener.at(-500).add_velocity((0.25, 0.0))
    stop(listener, SAID_NS - 1)
    assert listener.finished == []
    listener.at(253).add_velocity((0.0, 0.0))
    assert listener.finished[0].after_ms["command"] == 253.0
    assert listener.finished[0].seen_ns == SAID_NS + 253_000_000


def test_stop_may_act_before_its_plan_arrives() -> None:
    listener = Listener()
    listener.at(-500).add_velocity((0.25, 0.0))
    listener.at(240).add_velocity((0.0, 0.0))
    stop(listener, SAID_NS - 400_000_000)
    assert listener.finished[0].after_ms["command"] == 240.0


def test_a_robot_that_stood_still_was_not_stopped() -> None:
    listener = Listener()
    listener.at(-900).add_velocity((0.25, 0.0))
    listener.at(-800).add_velocity((0.0, 0.0))
    stop(listener, SAID_NS - 400_000_000)
    assert "command" not in listener.finished[0].after_ms


def test_the_latest_utterance_is_available_while_it_is_processed() -> None:
    listener = Listener()
    assert listener.tracker.latest() is None
    listener.at(200).add_speech(speech())
    seen = listener.tracker.latest()
    listener.at(250).add_transcript(transcript("go forward"))
    assert seen is not None and seen.after_ms == {"speech": 200.0}
    latest = listener.tracker.latest()
    assert latest is not None and latest.transcript == transcript("go forward")


def drive(listener: Listener) -> None:
    listener.at(200).add_speech(speech())
    listener.at(250).add_transcript(transcript("go forward"))
    listener.at(251).add_intents(intent("move"))
    listener.at(252).add_plan(ActionPlan("move", (ActionStep("move", distance_m=1.0),), SAID_NS))


def test_a_refused_plan_has_a_reason() -> None:
    listener = Listener()
    drive(listener)
    for state, stamp_ns in ((MotionState.REFUSED, 5), (MotionState.MOVING, SAID_NS)):
        listener.tracker.add_feedback(MotionFeedback(state, stamp_ns=stamp_ns, problem="x"))
    assert listener.finished == []
    refusal = MotionFeedback(MotionState.REFUSED, stamp_ns=SAID_NS, problem="it is too old")
    listener.tracker.add_feedback(refusal)
    assert listener.finished[0].as_json()["reason"] == "it is too old"
    assert "move 1 m, but nothing: it is too old" in listener.finished[0].describe()


def test_utterances_end_in_the_order_of_speech() -> None:
    listener = Listener()
    drive(listener)
    later_ns = SAID_NS + 2_000_000_000
    listener.at(2200).add_speech(speech(later_ns))
    assert listener.finished == []
    listener.at(2250).add_transcript(Transcript("", 0.1, "command", later_ns, problem="no"))
    assert [each.stamp_ns for each in listener.finished] == [SAID_NS, later_ns]
    assert (listener.tracker.begun, listener.tracker.ended) == (2, 2)


def test_the_tracker_is_busy_until_an_utterance_ends() -> None:
    listener = Listener()
    assert not listener.tracker.is_busy
    listener.at(100).add_speech(speech(is_final=False))
    assert not listener.tracker.is_busy
    listener.at(200).add_speech(speech())
    assert listener.tracker.is_busy
    listener.at(250).add_transcript(transcript(""))
    assert not listener.tracker.is_busy


def test_an_unrecognized_utterance_has_a_reason() -> None:
    listener = Listener()
    listener.at(200).add_speech(speech())
    listener.tracker.finish_open()
    assert listener.finished[0].reason == "it was not recognized"

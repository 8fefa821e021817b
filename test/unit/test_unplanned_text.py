"""A stop or a no in a text takes effect unless the plan of that text carries it out."""

from __future__ import annotations

import pytest

from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.speech.language.stop_phrases import STOP_WORDS
from edge_inference.speech.language.unplanned_text import UnplannedTextTracker

MOVE, STOP = ActionStep("move", distance_m=1.0), ActionStep("stop")
STAMP = 7
PLAN_TIMEOUT_S = 3.0


class Tracker(UnplannedTextTracker):
    """A tracker with transcripts of one stamp and a controlled steady clock."""

    def __init__(self) -> None:
        self.now_ns = 0
        super().__init__(lambda: self.now_ns)

    def say(self, text: str, stamp_ns: int = STAMP, is_final: bool = True) -> bool:
        tracker = Transcript(text, 0.9, "free", stamp_ns, is_final)
        return self.add_transcript(tracker, STOP_WORDS, PLAN_TIMEOUT_S) is not None

    def plan(self, *steps: ActionStep, refused: str = "", stamp_ns: int = STAMP) -> bool:
        return self.add_plan(ActionPlan("any", steps, stamp_ns, bool(refused), refused)) is not None


@pytest.mark.parametrize(
    ("text", "steps", "acts"),
    [
        ("go forward and stop", (MOVE, STOP), False),
        ("go forward and stop", (MOVE,), True),
        ("go forward and stop", (), True),  # refused
        ("no and stop", (), True),
        ("no and stop", (MOVE,), True),
        ("no, go left", (MOVE,), False),
        ("no, go to the moon", (), True),
        ("um, no, that is not it", (), True),
        ("go forward", (), False),
        ("don't stop", (), False),
        ("find the stop sign", (), False),
        ("go and don't stop", (), False),
    ],
)
@pytest.mark.parametrize("plan_is_first", [False, True])
def test_text_acts_if_its_plan_does_not(
    text: str, steps: tuple[ActionStep, ...], acts: bool, plan_is_first: bool
) -> None:
    tracker = Tracker()
    refused = "" if steps else "I may not do that"
    ways = (lambda: tracker.say(text), lambda: tracker.plan(*steps, refused=refused))
    first, second = reversed(ways) if plan_is_first else ways
    assert not first()
    assert second() is acts
    tracker.now_ns = int(1e12)
    assert tracker.pop_overdue() is None


def test_text_acts_without_a_plan_in_time() -> None:
    tracker = Tracker()
    assert not tracker.say("pick up the ball and stop")
    assert not tracker.plan(MOVE, STOP, stamp_ns=STAMP + 1)  # the plan of another text
    tracker.now_ns = int(PLAN_TIMEOUT_S * 1e9) - 1
    assert tracker.pop_overdue() is None
    tracker.now_ns += 1
    overdue = tracker.pop_overdue()
    assert overdue is not None and overdue.is_stop
    assert tracker.pop_overdue() is None


def test_earlier_plan_does_not_satisfy_a_text_without_a_stamp() -> None:
    tracker = Tracker()
    tracker.plan(STOP, stamp_ns=0)
    assert not tracker.say("no and stop", stamp_ns=0)
    assert tracker.plan(refused="no such thing", stamp_ns=0)


def test_partial_text_is_ignored() -> None:
    tracker = Tracker()
    assert not tracker.say("no and stop", is_final=False)
    assert not tracker.plan(refused="no such thing")


def test_clear_removes_waiting_texts() -> None:
    tracker = Tracker()
    tracker.say("no and stop")
    tracker.clear()
    assert not tracker.plan(refused="no such thing")


def test_oldest_text_acts_if_too_many_wait() -> None:
    tracker = Tracker()
    acted = [tracker.say("no and stop", stamp_ns) for stamp_ns in range(100)]
    assert acted == [False] * 16 + [True] * 84

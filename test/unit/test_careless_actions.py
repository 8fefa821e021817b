"""Actions of packages that break what they promise: refused aloud, and nobody waits for them."""

from __future__ import annotations

import importlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from action_package import install_action, limits_of, said
from edge_inference.core.voice import Transcript
from edge_inference.speech.actions.limits import VoiceLimits
from edge_inference.speech.actions.table import ACTIONS
from edge_inference.speech.planning.planner import ActionPlanner
from installed_extension import installed, write_metadata


@pytest.mark.parametrize(
    ("others", "changes", "reason"),
    [
        ("def plan(values, limits):\n    return []", "plan=plan", "what to do for hop"),
        (
            "def plan(values, limits):\n    while True:\n        yield ActionStep('hop')",
            "plan=plan",
            "9 steps are too many",
        ),
        (
            "def plan(values, limits):\n    yield ActionStep('look')\n"
            "    yield ActionStep('turn', angle_rad=1.0)",
            "plan=plan, executor='', moves_robot=False",
            "I may not move for hop",
        ),
        (
            "",
            "executor='legs', uses=('times',), plan=lambda v, l: [ActionStep('hop', "
            "values=(IntentSlot('times', float('nan')),))]",
            "The times is not a number",
        ),
        (
            "",
            "executor='legs', uses=('target', 'distance_m'), "
            "plan=lambda v, l: [ActionStep('hop', distance_m=float('inf'))]",
            "The distance m is not a number",
        ),
        (
            "",
            "executor='legs', uses=('times',), plan=lambda v, l: [ActionStep('hop', "
            "values=(IntentSlot('times', 1.0), IntentSlot('times', 9.0)))]",
            "I do not know what times means for hop",
        ),
        (
            "def plan(values, limits):\n    return [ActionStep('turn', angle_rad=1.0)]",
            "plan=plan, executor='', moves_robot=False",
            "I may not move for hop",
        ),
        (
            "def object(step, limits):\n    return False",
            "executor='legs', objection=object, plan=lambda v, l: [ActionStep('hop')]",
            "I do not know what limits hop has",
        ),
        (
            "def object(step, limits):\n    pass",
            "executor='legs', objection=object, plan=lambda v, l: [ActionStep('hop')]",
            "I do not know what limits hop has",
        ),
        (
            "",
            "executor='', plan=lambda v, l: [ActionStep('hop', distance_m=1.0)]",
            "I do not know how to hop",
        ),
        (
            "",
            "plan=lambda v, l: [ActionStep('hop', distance_m=1.0, "
            "values=(IntentSlot('distance_m', 9.0),))]",
            "I do not know what distance_m means for hop",
        ),
    ],
)
def test_a_careless_action_is_refused_aloud(
    tmp_path: Path, others: str, changes: str, reason: str
) -> None:
    row = f"replace(MOVE, name='hop', is_default=False, {changes})"
    install_action(tmp_path, "hop", row, others)
    with installed(tmp_path):
        assert ACTIONS.problems() == ()
        plan = ActionPlanner(limits_of("hop", "turn")).plan(said("hop"))
        assert (plan.is_refused, plan.reason) == (True, reason) or reason in plan.reason
        assert not plan.steps


def test_an_intent_of_other_actions_must_be_listed_too(tmp_path: Path) -> None:
    row = "replace(MOVE, name='dance', is_default=False, executor='', plan=plan, refusal='No.')"
    plan = "def plan(values, limits):\n    return [ActionStep('turn', angle_rad=1.0)]"
    install_action(tmp_path, "dance", row, plan)
    with installed(tmp_path):
        for limits in (VoiceLimits(), limits_of("turn")):
            assert ActionPlanner(limits).plan(said("dance")).reason == "No."
        assert ActionPlanner(limits_of("turn", "dance")).plan(said("dance")).steps
        assert ActionPlanner(limits_of("dance")).plan(said("dance")).reason == "I cannot turn"


@pytest.mark.parametrize(("heard", "moves"), [("no", False), ("hello", True)])
def test_a_transcript_does_not_wait_for_a_plan(tmp_path: Path, heard: str, moves: bool) -> None:
    row = "replace(MOVE, name='hop', is_default=False, plan=plan)"
    others = """
import threading
begun, goes_on = threading.Event(), threading.Event()

def plan(values, limits):
    begun.set()
    goes_on.wait()
    return [ActionStep("hop", distance_m=1.0)]
"""
    install_action(tmp_path, "hop", row, others)
    with installed(tmp_path):
        module = importlib.import_module("their_actions")
        planner = ActionPlanner(limits_of("hop"))
        asked = replace(said("hop"), needs_confirmation=True)
        with ThreadPoolExecutor(1) as pool:
            question = pool.submit(planner.plan, asked)
            assert module.begun.wait(60)
            planner.observe(Transcript(heard, 0.9, "free", 6))  # in this thread
            module.goes_on.set()
            assert "Say yes or no" in question.result().reason
        assert bool(planner.plan(replace(said("confirm"), stamp_ns=7)).steps) is moves


def test_two_actions_do_not_share_their_limits(tmp_path: Path) -> None:
    code = """
from dataclasses import dataclass, replace
from edge_inference.core.settings import setting
from edge_inference.speech.actions.driving import MOVE

@dataclass(frozen=True)
class Limits:
    most: int = setting(1, "most", minimum=1)

HOP = replace(MOVE, name="hop", is_default=False, limits_class=Limits)
LEAP = replace(HOP, name="leap")
"""
    (tmp_path / "their_actions.py").write_text(code)
    entries = "[edge_inference.actions]\nhop = their_actions:HOP\nleap = their_actions:LEAP\n"
    write_metadata(tmp_path, "their_actions", entries)
    with installed(tmp_path):
        (problem,) = ACTIONS.problems()
        assert "limits_class: hop has the same" in problem


def test_a_failed_plan_leaves_no_question(tmp_path: Path) -> None:
    row = "replace(MOVE, name='hop', is_default=False, plan=lambda values, limits: 1 / 0)"
    install_action(tmp_path, "hop", row)
    with installed(tmp_path):
        planner = ActionPlanner(limits_of("hop"))
        with pytest.raises(ZeroDivisionError):
            planner.plan(replace(said("hop"), needs_confirmation=True))
        assert planner.plan(said("confirm")).reason == "I have not asked anything"


def test_what_an_action_says_is_bounded(tmp_path: Path) -> None:
    row = "replace(MOVE, name='hop', is_default=False, describe=lambda step: 'hop ' * 9999)"
    install_action(tmp_path, "hop", row)
    with installed(tmp_path):
        plan = ActionPlanner(limits_of("hop", "move")).plan(said("hop"))
        assert len(plan.reason) < 400

"""The table of actions: its rows, and what a wrong row, grammar or limits file is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from action_package import install_action, limits_of, said
from edge_inference.core.voice import ActionStep, Intent, IntentArray, IntentSlot
from edge_inference.errors import ConfigError, PluginError
from edge_inference.speech.actions.action import action_problem
from edge_inference.speech.actions.driving import MOVE
from edge_inference.speech.actions.executor import EXECUTORS
from edge_inference.speech.actions.limits import PlanLimits, VoiceLimits
from edge_inference.speech.actions.limits_file import read_limits
from edge_inference.speech.actions.slots import NumberSlot, SlotValues, WordSlot
from edge_inference.speech.actions.table import ACTIONS, may_move, step_objection
from edge_inference.speech.language.grammar_actions import check_actions
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language_model.plan_schema import PlanSchema
from edge_inference.speech.language_model.prompt import select_examples
from edge_inference.speech.planning.planner import ActionPlanner
from installed_extension import installed

SHIPPED = Path(__file__).parents[2] / "config" / "voice"


def test_the_rows_of_this_package_are_complete() -> None:
    problems = {name: action_problem(action) for name, action in ACTIONS.own.items()}
    assert {name: problem for name, problem in problems.items() if problem} == {}
    assert not any(map(may_move, ("stop", "look", "say")))
    assert all(map(may_move, ("move", "turn", "go_to", "pick", "place", "unknown")))


def test_without_a_list_the_robot_has_what_needs_only_a_base() -> None:
    limits = replace(VoiceLimits(), plan=PlanLimits(things=("cup",)))
    assert step_objection(ActionStep("look"), limits) == ""
    assert step_objection(ActionStep("pick", target="cup"), limits) == "I cannot pick things up"
    assert step_objection(ActionStep("place", target="cup"), limits) == "I cannot put things down"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "Go"}, "name: expected lower-case"),
        ({"name": "confirm"}, "and no answer, got confirm"),
        ({"refusal": ""}, "refusal: expected a sentence"),
        ({"plan": None, "executor": ""}, "executor (for steps) or both, got neither"),
        ({"executor": "arm", "objection": None}, "objection: expected a function"),
        ({"uses": ("distance_m",)}, "uses: expected"),
        ({"moves_robot": False}, "moves_robot: expected True"),
        ({"executor": "navigation", "moves_robot": False}, "moves_robot: expected True"),
        ({"slots": (WordSlot("a"), NumberSlot("a"))}, "slots: expected each name once, got a, a"),
        ({"limits_class": dict}, "limits_class: "),
    ],
)
def test_a_wrong_row_has_a_problem(changes: dict[str, Any], problem: str) -> None:
    assert problem in (action_problem(replace(MOVE, **changes)) or "")


@pytest.mark.parametrize(
    ("name", "row", "problem"),
    [
        ("move", "replace(MOVE, is_default=False)", "the name is taken"),
        ("hop", "replace(MOVE, name='hop')", "is_default: expected False"),
        ("hop", "replace(MOVE, name='hop', is_default=False, uses=())", "uses: expected"),
        ("hop", "replace(MOVE, name='jump', is_default=False)", "its row is named 'jump'"),
        ("hop", "MOVE.plan", "expected a Action, got function"),
    ],
)
def test_a_wrong_action_of_a_package_is_not_in_the_table(
    tmp_path: Path, name: str, row: str, problem: str
) -> None:
    install_action(tmp_path, name, row)
    with installed(tmp_path):
        assert dict(ACTIONS.rows()) == dict(ACTIONS.own)
        assert problem in ACTIONS.problems()[0]


def test_a_velocity_of_another_package_is_within_the_limits_of_motion(tmp_path: Path) -> None:
    row = "replace(MOVE, name='hop', is_default=False, plan=hop)"
    hop = "def hop(values, limits):\n    return [ActionStep('hop', distance_m=50.0)]"
    install_action(tmp_path, "hop", row, hop)
    with installed(tmp_path):
        plan = ActionPlanner(limits_of("hop")).plan(said("hop"))
        assert plan.reason == "The distance of 50 meters is too much. I may do 10 meters"
        near = ActionStep("hop", distance_m=1.0, speed_mps=0.2)
        assert step_objection(near, limits_of("hop")) == ""
        assert step_objection(near, limits_of("move")) == "I cannot drive"
        assert "angle_rad" in step_objection(replace(near, angle_rad=1.0), limits_of("hop"))


def test_an_undeclared_slot_is_an_error_of_the_row() -> None:
    values = SlotValues(Intent("move", {}), MOVE.slots)
    with pytest.raises(TypeError, match="'angle' is not a NumberSlot of the action; slots: dir"):
        values.number("angle")
    with pytest.raises(TypeError, match="'distance' is not a WordSlot"):
        values.word("distance")


# Grammars -----------------------------------------------------------------------------------------

SLOTS = """slots:
  far: {type: number, unit: meters, minimum: 1, maximum: 5}
  long: {type: number, unit: seconds, minimum: 1, maximum: 5}
  count: {type: number, minimum: 1, maximum: 5}
  way: {type: words, values: {forward: [], sideways: []}}
  side: {type: words, values: {left: []}}
  place: {type: words, values: {kitchen: []}}
intents:
"""
LINE = 9


@pytest.mark.parametrize(
    ("intents", "problem"),
    [
        (
            "  teleport: {phrases: [go]}",
            "intents.teleport: no action carries out this intent",
        ),
        ("  mvoe: {phrases: [go]}", "did you mean 'move'?"),
        ("  say: {phrases: [say hello]}", "say is an action without an intent; known: confirm"),
        ("  move: {phrases: ['go {color:side}']}", "move reads no slot 'color'; known: direction"),
        ("  move: {phrases: ['go {distanse:far}']}", "did you mean 'distance'?"),
        ("  move: {phrases: ['go {distance:side}']}", "'distance' is a number, got the words of"),
        ("  move: {phrases: ['go {distance:long}']}", "'distance' is in m, got 'long' in s"),
        ("  move: {phrases: ['go {distance:count}']}", "got 'count' without a unit"),
        ("  move: {phrases: ['go [to] (there|{direction:far})']}", "is a word, got the number"),
        ("  move: {phrases: ['go {direction:way}']}", "forward, backward, got 'sideways'"),
        ("  move: {phrases: [{say: back, slots: {direction: up}}]}", "backward, got 'up'"),
        ("  move: {phrases: [{say: back, slots: {way: up}}]}", "reads no slot 'way'"),
        ("  move: {phrases: [{say: a bit, slots: {distance: '1'}}]}", "must be a placeholder"),
        ("  stop: {phrases: ['stop {place}']}", "stop reads no slot 'place'; known: none"),
        ("  confirm: {phrases: ['yes {place}']}", "confirm reads no slot 'place'"),
    ],
)
def test_a_grammar_without_its_action_is_refused_with_its_line(
    tmp_path: Path, intents: str, problem: str
) -> None:
    file = tmp_path / "grammar.yaml"
    file.write_text(f"{SLOTS}{intents}\n")
    with pytest.raises(ConfigError) as error:
        check_actions(read_grammar(file))
    assert str(error.value).startswith(f"{file}, line {LINE}, intents.")
    assert problem in str(error.value)


def test_the_shipped_grammar_has_its_actions() -> None:
    check_actions(read_grammar(SHIPPED / "grammar.yaml"))


# The package of test/extension_package ------------------------------------------------------------

WAVE_GRAMMAR = """slots:
  times: {type: number, minimum: 1, maximum: 10, spoken: [1, 2, 3]}
intents:
  wave: {phrases: ["wave [{times} times]"]}
"""


def wave(times: float, unit: str = "") -> IntentArray:
    return said("wave", IntentSlot("times", times, unit))


@pytest.mark.usefixtures("extension_package")
def test_an_action_of_a_package_is_planned_within_its_own_limits(tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text("plan: {actions: [wave, stop]}\naction_limits:\n  wave: {max_times: 5}\n")
    planner = ActionPlanner(read_limits(file))
    (step,) = planner.plan(wave(5.0)).steps
    assert (step.action, step.value("times"), step.value("side")) == ("wave", 5.0, None)
    assert planner.plan(said("wave")).reason == "waving 1 times"
    for asked, reason in (
        (wave(6.0), "Waving 6 times is too much. I may wave 5 times"),
        (wave(0.0), "a whole number of times"),
        (wave(1.5), "a whole number of times"),
        (wave(2.0, "m"), "The times is in m. I need it without a unit"),
        (said("wave", IntentSlot("hand", "left")), "I do not know what hand means for wave"),
    ):
        plan = planner.plan(asked)
        assert plan.is_refused and reason in plan.reason
    bad = ActionStep("wave", values=(IntentSlot("times", 1.0), IntentSlot("speed", 1.0)))
    assert "what speed means" in step_objection(bad, planner.limits)


@pytest.mark.usefixtures("extension_package")
def test_an_action_of_a_package_must_be_listed() -> None:
    assert ACTIONS.problems() == EXECUTORS.problems() == ()
    assert ActionPlanner(VoiceLimits()).plan(wave(1.0)).reason == "I cannot wave"
    assert ActionPlanner(limits_of("move")).plan(wave(1.0)).reason == "I cannot wave"


@pytest.mark.usefixtures("extension_package")
def test_the_grammar_of_an_action_of_a_package_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "grammar.yaml"
    file.write_text(WAVE_GRAMMAR)
    check_actions(read_grammar(file))
    file.write_text(WAVE_GRAMMAR.replace("minimum", "unit: meters, minimum"))
    with pytest.raises(ConfigError, match="'times' is without a unit, got 'times' in m"):
        check_actions(read_grammar(file))


@pytest.mark.usefixtures("extension_package")
def test_a_language_model_gets_the_examples_of_an_action(tmp_path: Path) -> None:
    file = tmp_path / "grammar.yaml"
    file.write_text(WAVE_GRAMMAR)
    grammar = read_grammar(file)
    examples = select_examples(PlanSchema(grammar), (), grammar, [])
    assert ("shake your hand two times", "wave times=two") in examples
    assert {plan for _, plan in examples} == {"wave times=two", "none"}
    assert examples[-1][1] == "none"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plan: {actions: [wave, stop]}\n", "line 1, plan.actions: unknown action 'wave'"),
        ("action_limits:\n  wave: {max_times: 5}\n", "line 2, action_limits.wave: unknown key"),
    ],
)
def test_without_the_package_its_action_is_unknown(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_limits(file)
    with pytest.raises(PluginError):
        ACTIONS.get("wave")
    assert ActionPlanner(VoiceLimits()).plan(wave(1.0)).reason == "I do not know how to wave"


@pytest.mark.usefixtures("extension_package")
@pytest.mark.parametrize("value", ["0", "21", "two"])
def test_own_limits_are_checked_with_their_line(tmp_path: Path, value: str) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text(f"action_limits:\n  wave:\n    max_times: {value}\n")
    with pytest.raises(ConfigError, match=r"line 3, action_limits\.wave\.max_times: expected an"):
        read_limits(file)

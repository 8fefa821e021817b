"""Any file, intent or plan gives a result within the limits or an error."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_inference.core.voice import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.errors import ConfigError
from edge_inference.speech.actions.limits import NamedPlace, PlanLimits, VoiceLimits
from edge_inference.speech.actions.limits_file import read_limits
from edge_inference.speech.actions.table import ACTIONS, step_objection
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.understanding import Understanding
from edge_inference.speech.planning.motion import Motion
from edge_inference.speech.planning.planner import ActionPlanner

SHIPPED = Path(__file__).parents[2] / "config" / "voice"
LIMITS = VoiceLimits(
    plan=PlanLimits(actions=tuple(ACTIONS.rows())), places={"kitchen": NamedPlace(1.0, 2.0)}
)
in_a_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats()
    | st.sampled_from(["go", "go {a}", "[go", "{a:b}", "go [on|off] {a}", "meters", "number"])
    | st.sampled_from(["words", "left", "stop", "move", "!", "", "üñ", "a then b"])
    | st.text(max_size=8)
)
grammar_keys = st.sampled_from(
    [
        *("ignored", "joiners", "synonyms", "slots", "intents", "phrases", "say", "type", "unit"),
        *("minimum", "maximum", "spoken", "unit_optional", "values", "a", "b", "go", "move"),
    ]
)
limit_keys = st.sampled_from(
    [
        *("motion", "plan", "places", "max_speed_mps", "default_speed_mps", "acceleration_mps2"),
        *("max_steps", "actions", "things", "dead_man_s", "x_m", "y_m", "yaw_rad", "kitchen"),
    ]
)


def trees(keys: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    def more(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
        any_key = keys | st.text(max_size=3)
        return st.lists(inner, max_size=4) | st.dictionaries(any_key, inner, max_size=5)

    return st.recursive(scalars, more, max_leaves=25)


slot_kinds = st.dictionaries(grammar_keys, trees(grammar_keys), max_size=6)
grammars = st.fixed_dictionaries(
    {},
    optional={
        "ignored": st.lists(scalars, max_size=2) | scalars,
        "synonyms": st.dictionaries(scalars, st.lists(scalars, max_size=2) | scalars, max_size=2),
        "slots": st.dictionaries(st.sampled_from("ab"), slot_kinds, max_size=2),
        "intents": st.dictionaries(
            grammar_keys,
            st.fixed_dictionaries({"phrases": st.lists(trees(grammar_keys), max_size=3)}),
            max_size=2,
        ),
    },
)


@in_a_file
@given(st.text(max_size=60) | (grammars | trees(grammar_keys)).map(yaml.safe_dump))
def test_any_file_is_a_grammar_or_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "grammar.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        grammar = read_grammar(file)
    except ConfigError as error:
        assert str(file) in str(error)
    else:
        # A valid grammar works in command mode, and for any text.
        assert all(sentence.text for sentence in grammar.sentences())
        Understanding(grammar).parse(Transcript("go on", 1.0, "free", 1))


@in_a_file
@given(st.text(max_size=60) | trees(limit_keys).map(yaml.safe_dump))
def test_any_file_is_limits_or_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        limits = read_limits(file)
    except ConfigError as error:
        assert str(file) in str(error)
    else:
        assert ActionPlanner(limits).plan(intent_of("stop")).steps == (ActionStep("stop"),)


def intent_of(name: str, *slots: IntentSlot, needs_confirmation: bool = False) -> IntentArray:
    return spoken([Intent(name, {slot.name: slot for slot in slots})], needs_confirmation)


def spoken(intents: list[Intent], needs_confirmation: bool) -> IntentArray:
    return IntentArray(tuple(intents), 1.0, "text", "grammar", 1, needs_confirmation)


slot_names = st.sampled_from(
    [
        *("distance", "duration", "speed", "angle", "rate", "direction", "place", "thing"),
        "colour",
    ]
)
slots = st.builds(
    IntentSlot,
    slot_names | st.text(max_size=3),
    st.floats(0.0, 20.0)
    | st.floats()
    | st.sampled_from(["forward", "backward", "left", "right", "around", "kitchen"])
    | st.text(max_size=3),
    st.sampled_from(["", "m", "rad", "s", "m/s", "rad/s", "ft"]),
)
names = st.sampled_from([*ACTIONS.rows(), "confirm", "deny"])
intents = st.builds(
    lambda name, slots: Intent(name, {slot.name: slot for slot in slots}),
    names | st.text(max_size=5),
    st.lists(slots, max_size=4),
)
utterances = st.builds(spoken, st.lists(intents, max_size=3), st.booleans())


@given(st.lists(utterances, min_size=1, max_size=4))
def test_any_plan_is_within_the_limits_or_refused(asked: list[IntentArray]) -> None:
    planner = ActionPlanner(LIMITS)
    for utterance in asked:
        plan = planner.plan(utterance)
        assert plan.reason
        assert plan.is_refused is (not plan.steps)
        for step in plan.steps:
            assert step_objection(step, LIMITS) == ""
            assert abs(step.distance_m or 0.0) <= LIMITS.motion.max_distance_m * (1 + 1e-8)
            assert abs(step.angle_rad or 0.0) <= LIMITS.motion.max_angle_rad * (1 + 1e-8)


@given(st.text(max_size=80))
def test_any_text_is_an_intent_or_a_problem(text: str) -> None:
    intent = understanding().parse(Transcript(text, 1.0, "free", 1))
    assert bool(intent.names) is not bool(intent.problem)


def understanding(made: list[Understanding] = []) -> Understanding:  # noqa: B006 - read once
    if not made:
        made.append(Understanding(read_grammar(SHIPPED / "grammar.yaml")))
    return made[0]


anything = st.floats() | st.none() | st.floats(-10.0, 10.0)
steps = st.builds(
    ActionStep, st.sampled_from([*ACTIONS.rows(), "fly"]), *[anything] * 4, st.text(max_size=2)
)
stamps = st.integers(-(2**62), 2**62) | st.integers(-4_000_000_000, 4_000_000_000)


@given(st.lists(st.tuples(st.lists(steps, max_size=3), stamps, stamps), max_size=8))
def test_velocities_are_always_finite_and_bounded(plans) -> None:
    motion = Motion(LIMITS, steady_ns=lambda: 0)
    for made, stamp_ns, now_ns in plans:
        motion.begin(ActionPlan("test", tuple(made), stamp_ns), now_ns)
        for cycle in range(10):
            linear, angular = motion.command(now_ns + cycle * 40_000_000)
            assert math.isfinite(linear) and math.isfinite(angular)
            assert abs(linear) <= LIMITS.motion.max_speed_mps
            assert abs(angular) <= LIMITS.motion.max_rate_radps


@pytest.mark.parametrize("text", ["go forward " * 1000, "a" * 10_000, "go " * 100, "\0\u202e"])
def test_overlong_text_has_no_intent(text: str) -> None:
    intent = understanding().parse(Transcript(text, 1.0, "free", 1))
    assert intent.names == () and intent.problem

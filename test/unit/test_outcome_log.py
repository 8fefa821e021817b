"""Outcomes of actuators: each is reported once for each standing request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.platforms.actuators.actuator import ActuatorOutcome, ActuatorResult
from edge_inference.platforms.actuators.outcome_log import OutcomeLog

SET, SAME, FAILED, REFUSED, RESTORED = (
    ActuatorResult.SET,
    ActuatorResult.UNCHANGED,
    ActuatorResult.FAILED,
    ActuatorResult.REFUSED,
    ActuatorResult.RESTORED,
)
NONE = None  # a lift of what was never set has no outcome
LIFT = ""


def outcome(value: str, result: ActuatorResult) -> ActuatorOutcome:
    return ActuatorOutcome("cap", value, result, None, f"cap: {result.value} {value}")


@pytest.mark.parametrize(
    ("course", "reported"),
    [
        ([], []),
        ([("1", SET)], [0]),
        ([("1", SET), ("1", SAME), ("1", SAME)], [0]),
        ([("1", SAME), ("1", SAME)], [0]),
        ([("1", SET), ("2", SET), ("1", SET)], [0, 1, 2]),
        ([("1", FAILED), ("1", FAILED)], [0]),
        ([("1", FAILED), ("1", SET), ("1", FAILED)], [0, 1, 2]),
        ([("1", FAILED), (LIFT, NONE), ("1", FAILED)], [0, 2]),
        ([("1", FAILED), (LIFT, NONE), (LIFT, NONE), ("1", FAILED), ("1", FAILED)], [0, 3]),
        ([("1", FAILED), ("2", NONE), ("1", FAILED)], [0, 2]),
        ([("1", SET), (LIFT, RESTORED), (LIFT, NONE), ("1", SET)], [0, 1, 3]),
        ([("1", SET), (LIFT, FAILED), (LIFT, FAILED), (LIFT, RESTORED)], [0, 1, 3]),
        ([("1", SET), (LIFT, FAILED), ("1", SAME), (LIFT, FAILED)], [0, 1, 2, 3]),
        ([("1", REFUSED), ("1", REFUSED), (LIFT, NONE), ("1", REFUSED)], [0, 3]),
        ([("1", REFUSED), ("1", SET), (LIFT, RESTORED), ("1", REFUSED)], [0, 1, 2, 3]),
    ],
)
def test_which_outcomes_are_reported(
    course: list[tuple[str, ActuatorResult | None]], reported: list[int]
) -> None:
    log = OutcomeLog()
    found = []
    for number, (value, result) in enumerate(course):
        log.note_request("cap", value)
        if result is not None:
            log.add(outcome(value, result))
        found += [number] * len(log.take())
    assert found == reported


def test_another_actuator_changes_nothing() -> None:
    log = OutcomeLog()
    log.note_request("cap", "1")
    log.add(outcome("1", FAILED))
    log.note_request("governor", LIFT)
    log.note_request("cap", "1")
    log.add(outcome("1", FAILED))
    assert log.take() == (outcome("1", FAILED),)
    assert log.latest() == (outcome("1", FAILED),)


@given(st.lists(st.tuples(st.sampled_from(["1", "2", LIFT]), st.sampled_from([SET, FAILED, NONE]))))
def test_first_outcome_of_every_request_is_reported(
    course: list[tuple[str, ActuatorResult | None]],
) -> None:
    log = OutcomeLog()
    standing, told = None, None
    for value, result in course:
        if value != standing:
            standing, told = value, None
        log.note_request("cap", value)
        if result is not None:
            log.add(outcome(value, result))
            assert bool(log.take()) is (result is not told)
            told = result

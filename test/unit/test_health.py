"""The health of a component."""

from __future__ import annotations

import pytest

from edge_inference.core.runtime.health import Health, HealthLevel, HealthStatus

SECOND = 1_000_000_000


def look(health: Health, now_s: float = 0) -> tuple[HealthLevel, str]:
    status = health.status(int(now_s * SECOND))
    return status.level, status.message


def active() -> Health:
    health = Health()
    health.set_active(True)
    return health


def test_a_new_component_is_not_active() -> None:
    assert Health().status(0) == HealthStatus(HealthLevel.OK, "not active", {"processed": "0"})


@pytest.mark.parametrize(
    ("done", "lost", "level"),
    [
        (0, 0, HealthLevel.OK),
        (9, 1, HealthLevel.OK),
        (8, 1, HealthLevel.WARN),
        (0, 1, HealthLevel.WARN),
    ],
)
def test_losing_more_than_a_tenth_is_a_warning(done: int, lost: int, level: HealthLevel) -> None:
    health = active()
    for _ in range(done):
        health.count_processed()
    for _ in range(lost):
        health.count_dropped("superseded")
    assert look(health)[0] == level
    assert look(health)[0] == HealthLevel.OK  # the level is for the time since the last call


def test_a_warning_says_what_was_lost_and_why() -> None:
    health = active()
    health.count_processed()
    for reason in ("too_old", "superseded", "superseded"):
        health.count_dropped(reason)
    assert look(health) == (HealthLevel.WARN, "dropped 3 of 4 frames: superseded 2, too_old 1")


def test_an_error_is_shown_for_five_seconds_and_stays_counted() -> None:
    health = active()
    health.count_error("invalid", "encoding: expected rgb8, got 'x'", 10 * SECOND)
    assert look(health, 12) == (HealthLevel.ERROR, "encoding: expected rgb8, got 'x'")
    later = health.status(16 * SECOND)
    assert later.level == HealthLevel.OK
    assert later.values["last error"] == "encoding: expected rgb8, got 'x'"
    assert later.values["dropped: invalid"] == "1"


def test_an_error_is_due_in_the_log_once_in_five_seconds_for_each_reason() -> None:
    health = Health()
    due = [health.count_error("a", "x", s * SECOND) for s in (0, 1, 4, 5, 6, 10)]
    assert due == [True, False, False, True, False, True]
    assert health.count_error("b", "x", 6 * SECOND)
    assert health.drop_counts() == {"a": 6, "b": 1}


def test_a_persistent_error_is_shown_while_it_lasts_and_logged_once() -> None:
    health = active()
    due = [health.report_ongoing("publishers", "two speak", s * SECOND) for s in (0, 3, 6, 9)]
    assert due == [True, False, False, False]
    assert look(health, 13) == (HealthLevel.ERROR, "two speak")
    later = health.status(15 * SECOND)
    assert (later.level, later.values["error: publishers"]) == (HealthLevel.OK, "1")
    assert health.take_errors() == [("publishers", "two speak")]
    assert health.report_ongoing("publishers", "three speak", 15 * SECOND)
    assert health.report_ongoing("publishers", "two speak", 16 * SECOND)
    assert health.drop_counts() == {}


def test_errors_of_different_kinds_do_not_hide_each_other() -> None:
    health = active()
    health.report_ongoing("publishers", "two speak", 0)
    health.count_error("bad", "this message is bad", 1 * SECOND)
    assert look(health, 2) == (HealthLevel.ERROR, "this message is bad; two speak")
    assert look(health, 6) == (HealthLevel.ERROR, "this message is bad")


def test_a_fault_of_every_frame_does_not_hide_another_error() -> None:
    health = active()
    health.count_error("failed", "out of memory", 0)
    for number in range(1, 100):
        health.count_error("stamp_zero", f"no stamp in frame {number}", number, lost=False)
    both = "no stamp in frame 99; out of memory"
    assert look(health, 4) == (HealthLevel.ERROR, both)
    assert health.status(60 * SECOND).values["last error"] == both


def test_an_error_without_a_lost_frame_is_counted_separately() -> None:
    health = active()
    health.count_processed()
    health.count_error("stamp_zero", "stamp_zero: …", 0, lost=False)
    assert health.drop_counts() == {}
    values = health.status(0).values
    assert values["error: stamp_zero"] == "1"
    assert "dropped: stamp_zero" not in values
    assert look(health, 60) == (HealthLevel.OK, "active, 0 frames since the last report")


def test_a_fault_is_shown_until_it_is_cleared() -> None:
    health = active()
    health.set_fault("the model is missing")
    assert [look(health, s) for s in (0, 100)] == [(HealthLevel.ERROR, "the model is missing")] * 2
    health.set_fault("")
    assert look(health)[0] == HealthLevel.OK


def test_not_active_hides_no_error() -> None:
    health = Health()
    health.count_dropped("superseded")
    assert look(health) == (HealthLevel.OK, "not active")
    health.count_error("source", "no camera", 0)
    assert look(health) == (HealthLevel.ERROR, "no camera")


def test_notes_are_shown_with_the_counts() -> None:
    health = Health()
    health.note("model", "a")
    health.note("model", "b")
    assert health.notes() == {"model": "b"}
    assert health.status(0).values == {"model": "b", "processed": "0"}


def test_a_missing_expected_input_is_a_warning() -> None:
    health = active()
    health.expect("images on /camera/image_raw")
    warning = (HealthLevel.WARN, "no images on /camera/image_raw since the last report")
    assert look(health) == warning
    health.count_processed()
    assert look(health) == (HealthLevel.OK, "active, 1 frames since the last report")
    assert look(health) == warning


def test_replaced_notes_disappear_together() -> None:
    health = Health()
    health.note("images from", "/image")
    health.replace_notes({"precision": "int8", "self-check": "passed"})
    health.replace_notes({"precision": "fp32"})
    assert health.notes() == {"images from": "/image", "precision": "fp32"}

"""How a command reports the invalid messages of a running pipeline."""

from __future__ import annotations

from edge_inference.cli.sessions.live_session import InvalidMessages
from edge_inference.errors import InputError


def test_each_kind_is_reported_once_and_the_number_last() -> None:
    texts: list[str] = []
    invalid = InvalidMessages(texts.append)
    for number in range(100):
        invalid.add(InputError(f"StageTiming: queue_ms: expected a number, got -{number}"))
        invalid.add(InputError(f"StageTiming: age_ms: expected a number, got {number}e30"))
    invalid.finish()
    assert texts == [
        "StageTiming: queue_ms: expected a number, got -0",
        "StageTiming: age_ms: expected a number, got 0e30",
        "200 messages were invalid, and ignored",
    ]


def test_kinds_without_end_are_bounded() -> None:
    texts: list[str] = []
    invalid = InvalidMessages(texts.append)
    for number in range(1000):
        invalid.add(InputError(f"LatencyReport: stage 's{number}': expected a count, got none"))
    invalid.finish()
    assert len(texts) == InvalidMessages.MAX_KINDS + 1
    assert texts[-1] == "1000 messages were invalid, and ignored"


def test_a_single_one_needs_no_number() -> None:
    texts: list[str] = []
    invalid = InvalidMessages(texts.append)
    invalid.add(InputError("StageTiming: queue_ms: expected a number, got nan"))
    invalid.finish()
    InvalidMessages(texts.append).finish()
    assert texts == ["StageTiming: queue_ms: expected a number, got nan"]

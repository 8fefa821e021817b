"""What a command says of a running pipeline: invalid messages, and frames that stop coming."""

from __future__ import annotations

from types import SimpleNamespace

from edge_inference.cli.sessions.live_session import FrameGaps, InvalidMessages, find_twins
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


def test_frames_that_stop_coming() -> None:
    gaps = FrameGaps()
    assert gaps.silent_s(100.0) is None  # none has come at all; that is said otherwise
    for now_s in (0.0, 0.1, 0.2):
        gaps.note(now_s)
    assert gaps.silent_s(2.1) is None
    assert gaps.silent_s(5.2) == 5.0


def test_a_slow_source_is_not_silent() -> None:
    gaps = FrameGaps()
    gaps.note(0.0)
    gaps.note(3.0)
    assert gaps.silent_s(11.0) is None
    assert gaps.silent_s(13.0) == 10.0


def test_two_pipelines_in_one_namespace() -> None:
    nodes = [("/ai", "decode"), ("/ai", "inference"), ("/ai", "decode"), ("/ai_2", "inference")]
    nodes += [("/", "decode"), ("/", "decode")]
    nodes += [("_NODE_NAMESPACE_UNKNOWN_", "_NODE_NAME_UNKNOWN_")] * 2  # not discovered yet
    publishers = [SimpleNamespace(node_namespace=place, node_name=name) for place, name in nodes]
    assert find_twins(publishers) == ["/ai/decode", "/decode"]
    assert find_twins(publishers[:2]) == []

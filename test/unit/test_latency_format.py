"""The way of a frame as text and as JSON."""

from __future__ import annotations

import json

import pytest

from edge_inference.cli.sessions.latency_format import format_timeline, timeline_to_json
from edge_inference.observe.frame_timeline import join_timings
from timeline_cases import perception


def test_the_segments_in_order_with_their_sum() -> None:
    first, second, third = perception()
    timeline = join_timings([first, second._replace(device_ms=15.0), third])
    written = json.loads(json.dumps(timeline_to_json(timeline), allow_nan=False))
    assert sum(each["ms"] for each in written["timeline"]) == pytest.approx(40.0)
    assert written["sum_ms"] == written["end_to_end_ms"] == pytest.approx(40.0)
    assert written["timeline"][5] == {
        "segment": "process",
        "stage": "inference",
        "ms": 20.0,
        "device_ms": 15.0,
    }
    assert written["clock_fault"] == ""


def test_a_line_of_text_leaves_short_segments_out() -> None:
    first, second, third = perception()
    text = format_timeline(join_timings([first, second._replace(queue_ms=0.04), third]))
    assert "inference queue" not in text
    assert text.startswith("preprocess transport 2.0, preprocess queue 1.0, preprocess 3.0, ")
    assert text.endswith("decode 7.0, decode publish 2.0 = 40.0 ms")


def test_what_is_unknown_is_no_number() -> None:
    timings = [each._replace(clock_fault="stamp_zero") for each in perception(captured=None)]
    timeline = join_timings(timings)
    written = timeline_to_json(timeline)
    assert (written["timeline"][0]["ms"], written["sum_ms"]) == (None, None)
    assert (written["end_to_end_ms"], written["clock_fault"]) == (None, "stamp_zero")
    assert format_timeline(timeline).startswith("preprocess transport ?, ")
    assert "=" not in format_timeline(timeline)
    assert timeline_to_json(None) == {
        "timeline": [],
        "sum_ms": None,
        "end_to_end_ms": None,
        "clock_fault": "",
    }

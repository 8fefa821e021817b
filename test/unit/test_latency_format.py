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


def test_a_line_of_text_has_the_stages_the_waits_and_the_total() -> None:
    text = format_timeline(join_timings(perception()))
    waited = "waited 3.0, preprocess 3.0, waited 4.0, inference 20.0, waited 1.0, decode 7.0"
    assert text == f"{waited}, publish 2.0, total 40.0 ms"


def test_what_is_short_is_left_out_of_a_line_of_text() -> None:
    first, *_ = perception()
    timeline = join_timings([first._replace(queue_ms=0.9, age_ms=3.9, publish_ms=0.9)])
    assert format_timeline(timeline) == "preprocess 3.0, total 4.8 ms"


def test_the_wait_of_a_dropped_frame() -> None:
    first, *_ = perception()
    dropped = first._replace(process_ms=None, age_ms=3.0, dropped="too_old", publish_ms=None)
    assert format_timeline(join_timings([dropped])) == "waited 3.0, total 3.0 ms"


def test_what_is_unknown_is_no_number() -> None:
    timings = [each._replace(clock_fault="stamp_zero") for each in perception(captured=None)]
    timeline = join_timings(timings)
    written = timeline_to_json(timeline)
    assert (written["timeline"][0]["ms"], written["sum_ms"]) == (None, None)
    assert (written["end_to_end_ms"], written["clock_fault"]) == (None, "stamp_zero")
    assert format_timeline(timeline).startswith("waited ?, preprocess 3.0, ")
    assert format_timeline(timeline).endswith(", total ? ms")
    assert timeline_to_json(None) == {
        "timeline": [],
        "sum_ms": None,
        "end_to_end_ms": None,
        "clock_fault": "",
    }

"""The trace of a pipeline: checked against the format, and against the timings it is made of."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.runtime.process_statistics import Hold, ProcessStatistics
from edge_inference.observe.profiling.pipeline_trace import UNKNOWN_PID, trace_pipeline
from trace_format import faults_of, slices_of, thread_names

MS = 1_000_000
START = 5_000 * MS
CLOCK = 77


def timing(stage: str, arrived_ms: float, queue: float, process: float, **fields: Any) -> Any:
    """Return the timing of a stage; times are milliseconds after START."""
    ended_ns = START + round((arrived_ms + queue + process) * MS)
    values: dict[str, Any] = {
        "node": f"/ai/{stage}",
        "age_ms": 5.0,
        "stamp_ns": 1,
        "frame_id": "camera",
        "clock_id": CLOCK,
        **fields,
    }
    process_ms = None if values.get("dropped") else process
    return StageTiming(stage, queue_ms=queue, process_ms=process_ms, ended_ns=ended_ns, **values)


def statistics(pid: int, *nodes: str, holds: tuple[Hold, ...] = ()) -> ProcessStatistics:
    return ProcessStatistics(
        nodes, pid, CLOCK, START, START + 100 * MS, 150.0, 64.5, 1, 0, holds=holds
    )


def two_frames() -> list[StageTiming]:
    """The second frame waits while the first is processed; a third one is dropped."""
    return [
        timing("preprocess", 0, 0, 2, publish_ms=0.5),
        timing("inference", 2, 1, 20, publish_ms=1.0, cpu_ms=18.0, device_ms=12.0),
        timing("decode", 24, 0, 3),
        timing("preprocess", 10, 0, 2, stamp_ns=2),
        timing("inference", 12, 12, 20, stamp_ns=2),
        timing("preprocess", 15, 0, 2, stamp_ns=3),
        timing("inference", 17, 10, 0, stamp_ns=3, dropped="superseded"),
    ]


def make(timings: list[StageTiming], *windows: ProcessStatistics, **how: Any) -> dict[str, Any]:
    trace = trace_pipeline(timings, windows, **how).events.as_json()
    assert faults_of(trace) == []
    return json.loads(json.dumps(trace, allow_nan=False))  # type: ignore[no-any-return]


def events_of(trace: dict[str, Any], phases: str) -> list[dict[str, Any]]:
    return [event for event in trace["traceEvents"] if event["ph"] in phases]


def test_each_stage_has_a_slice_at_its_moment() -> None:
    trace = make(two_frames())
    found = [
        (event["name"], event["args"]["frame"], event["ts"], event["dur"])
        for event in slices_of(trace, "stage")
    ]
    assert found == [
        ("preprocess", 1, 0.0, 2500.0),
        ("inference", 1, 3000.0, 21000.0),
        ("preprocess", 2, 10000.0, 2000.0),
        ("preprocess", 3, 15000.0, 2000.0),
        ("decode", 1, 24000.0, 3000.0),
        ("inference", 2, 24000.0, 20000.0),
    ]
    publish = [(event["ts"], event["dur"]) for event in slices_of(trace, "publish")]
    assert publish == [(2000.0, 500.0), (23000.0, 1000.0)]


def test_known_figures_are_arguments_and_unknown_ones_are_absent() -> None:
    _, first, *_ = slices_of(make(two_frames()), "stage")
    assert first["args"]["cpu_ms"] == 18.0
    assert first["args"]["device_ms"] == 12.0
    assert not {"run_queue_ms", "receive_ms", "clock_fault", "model"} & set(first["args"])


def test_waiting_in_a_queue_may_overlap_processing() -> None:
    waits = events_of(make(two_frames()), "be")
    assert [(e["ph"], e["ts"], e["name"]) for e in waits[:4]] == [
        ("b", 2000.0, "queue of inference"),
        ("e", 3000.0, "queue of inference"),
        ("b", 12000.0, "queue of inference"),
        ("e", 24000.0, "queue of inference"),
    ]


def test_a_drop_is_an_instant_with_its_reason() -> None:
    (drop,) = events_of(make(two_frames()), "i")
    assert drop["name"] == "dropped: superseded"
    assert drop["ts"] == 27000.0
    assert drop["args"] == {"frame": 3}


def test_a_flow_joins_the_stages_of_each_frame() -> None:
    trace = make(two_frames())
    names = thread_names(trace)
    ways: dict[str, list[str]] = {}
    for event in events_of(trace, "stf"):
        ways.setdefault(event["name"], []).append(names[event["pid"], event["tid"]])
    assert ways == {
        "frame 1": [
            "preprocess (/ai/preprocess)",
            "inference (/ai/inference)",
            "decode (/ai/decode)",
        ],
        "frame 2": ["preprocess (/ai/preprocess)", "inference (/ai/inference)"],
    }


def test_processes_are_those_of_the_statistics() -> None:
    holds = (
        Hold(START + 5 * MS, 40.0, 1.0, 39.0),
        Hold(START + 50 * MS, 30.0, 28.0),
        Hold(START + 85 * MS, 10.0, 0.0, is_stopped=True),
    )
    windows = (
        statistics(11, "/ai/preprocess", "/ai/decode"),
        statistics(12, "/ai/inference", holds=holds),
    )
    trace = make(two_frames(), *windows)
    assert {event["pid"] for event in slices_of(trace, "stage")} == {11, 12}
    names = [e["args"]["name"] for e in events_of(trace, "M") if e["name"] == "process_name"]
    assert names == ["process 11: /ai/preprocess, /ai/decode", "process 12: /ai/inference"]
    counters = [(e["pid"], e["name"], e["args"]) for e in events_of(trace, "C")]
    assert counters == [
        (pid, name, values)
        for pid in (11, 12)
        for name, values in (("CPU", {"cores": 1.5}), ("memory", {"MiB": 64.5}))
    ]
    held = [(e["name"], e["ts"], e["dur"]) for e in slices_of(trace, "hold")]
    assert held == [
        ("interpreter lock", 5000.0, 40000.0),
        ("no free core", 50000.0, 30000.0),
        ("process stopped", 85000.0, 10000.0),
    ]


def test_own_nodes_need_no_statistics_and_others_have_no_invented_process() -> None:
    trace = make(two_frames(), own_nodes={"/ai/preprocess": 42})
    assert {event["pid"] for event in slices_of(trace, "stage")} == {42, UNKNOWN_PID}
    names = [e["args"]["name"] for e in events_of(trace, "M") if e["name"] == "process_name"]
    assert names == [
        "process 42: /ai/preprocess",
        "process not known: /ai/inference, /ai/decode",
    ]


def test_timings_without_a_moment_or_of_another_machine_are_left_out_and_said() -> None:
    foreign = timing("decode", 30, 0, 1)._replace(clock_id=CLOCK + 1)
    no_moment = timing("decode", 30, 0, 1)._replace(ended_ns=0)
    trace = trace_pipeline([*two_frames(), foreign, no_moment])
    assert len(slices_of(trace.events.as_json(), "stage")) == 6
    unplaced, other = trace.left_out
    assert unplaced.startswith("1 of 9 timings are not in the trace")
    assert "another machine" in other


def test_statistics_of_another_machine_are_left_out_and_said() -> None:
    foreign = replace(statistics(11, "/ai/decode"), clock_id=CLOCK + 1)
    trace = trace_pipeline(two_frames(), [foreign])
    assert events_of(trace.events.as_json(), "C") == []
    (sentence,) = trace.left_out
    assert sentence.startswith("1 of 1 process statistics are not in the trace")


def test_statistics_alone_make_a_trace() -> None:
    assert len(events_of(make([], statistics(11, "/ai/decode")), "C")) == 2


def test_nothing_at_all_is_an_empty_trace() -> None:
    trace = trace_pipeline([])
    assert trace.events.as_json()["traceEvents"] == []
    assert trace.left_out == ()


def test_overlapping_slices_of_a_stage_get_rows_of_their_own() -> None:
    trace = make([timing("command", 0, 0, 10), timing("command", 5, 0, 10, stamp_ns=2)])
    assert sorted(thread_names(trace).values()) == [
        "command (/ai/command)",
        "command (/ai/command) (2)",
    ]


def test_an_overlap_by_rounding_stays_on_one_row() -> None:
    second = timing("command", 10 - 1e-4, 0, 10, stamp_ns=2)  # 100 ns too early
    trace = make([timing("command", 0, 0, 10), second])
    assert len(thread_names(trace)) == 1


duration = st.floats(0, 50, allow_nan=False)
any_timing = st.builds(
    lambda stage, arrived, queue, process, publish, stamp, dropped: timing(
        stage, arrived, queue, process, publish_ms=publish, stamp_ns=stamp, dropped=dropped
    ),
    st.sampled_from(["preprocess", "inference", "decode"]),
    st.floats(0, 200, allow_nan=False),
    duration,
    duration,
    st.none() | duration,
    st.integers(0, 4),
    st.sampled_from(["", "", "superseded"]),
)


@hypothesis.given(st.lists(any_timing, max_size=25))
def test_any_timings_make_a_trace_that_keeps_to_the_format(timings: list[StageTiming]) -> None:
    make(timings, own_nodes={"/ai/decode": 3})


def _drop(event_phase: str) -> Callable[[dict[str, Any]], None]:
    def change(trace: dict[str, Any]) -> None:
        events = trace["traceEvents"]
        events.remove(next(event for event in events if event["ph"] == event_phase))

    return change


def _set(event_phase: str, **fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(trace: dict[str, Any]) -> None:
        next(e for e in trace["traceEvents"] if e["ph"] == event_phase).update(fields)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _drop("M"),
        _drop("b"),
        _drop("e"),
        _drop("s"),
        _drop("f"),
        _set("X", dur=-1),
        _set("X", ts=float("nan")),
        _set("X", dur=11_000.0),
        _set("X", pid="1"),
        _set("X", name=""),
        _set("X", extra=1),
        _set("X", ph="?"),
        _set("s", ts=999999.0),
        _set("f", bp="b"),
        _set("b", id="0xffff"),
        _set("i", s="x"),
        _set("C", args={"cores": "1"}),
        _set("C", args={}),
        _set("M", args={}),
        lambda trace: trace.update(displayTimeUnit="s"),
        lambda trace: trace.update(traceEvents={}),
    ],
)
def test_the_check_of_the_format_finds_faults(change: Callable[[dict[str, Any]], None]) -> None:
    trace = make(two_frames(), statistics(11, "/ai/decode"))
    broken = copy.deepcopy(trace)
    change(broken)
    assert faults_of(broken) != []

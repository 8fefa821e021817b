"""Checks a trace against Chrome's "Trace Event Format" (JSON object format), written from it."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

METADATA = {
    "process_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
KNOWN = {
    "M": {"name", "args"},
    "X": {"name", "cat", "ts", "dur", "args"},
    "b": {"name", "cat", "ts", "id", "args"},
    "e": {"name", "cat", "ts", "id", "args"},
    "s": {"name", "cat", "ts", "id"},
    "t": {"name", "cat", "ts", "id", "bp"},
    "f": {"name", "cat", "ts", "id", "bp"},
    "C": {"name", "ts", "args"},
    "i": {"name", "cat", "ts", "s", "args"},
}


def faults_of(trace: Any) -> list[str]:
    """Return a sentence for each violation of the format."""
    if not isinstance(trace, Mapping) or not isinstance(trace.get("traceEvents"), list):
        return ["expected an object with a list traceEvents"]
    found = []
    if trace.get("displayTimeUnit") not in ("ms", "ns"):
        found.append("displayTimeUnit is neither ms nor ns")
    events = trace["traceEvents"]
    broken = [fault for event in events for fault in _event_faults(event)]
    if broken:
        return found + broken
    for check in (_metadata_faults, _slice_faults, _wait_faults, _flow_faults):
        found += check(events)
    return found


def slices_of(trace: Mapping[str, Any], category: str) -> list[Event]:
    """Return the complete events of a category, in their order of time."""
    events = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["cat"] == category]
    return sorted(events, key=lambda event: event["ts"])


def thread_names(trace: Mapping[str, Any]) -> dict[tuple[int, int], str]:
    """Return the names of threads by process and thread number."""
    return {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in trace["traceEvents"]
        if event["ph"] == "M" and event["name"] == "thread_name"
    }


def _event_faults(event: Any) -> Iterator[str]:
    if not isinstance(event, Mapping) or event.get("ph") not in KNOWN:
        yield f"unknown kind of event: {event!r:.200}"
        return
    phase = event["ph"]
    if set(event) - KNOWN[phase] - {"ph", "pid", "tid"}:
        yield f"{phase}: unknown fields {sorted(event)}"
    missing = (KNOWN[phase] | {"pid", "tid"}) - set(event)
    if missing:
        yield f"{phase}: missing fields {sorted(missing)}"
        return
    for name in ("pid", "tid"):
        if type(event[name]) is not int or event[name] < 0:
            yield f"{phase}: {name} {event[name]!r}"
    if not isinstance(event["name"], str) or not event["name"]:
        yield f"{phase}: name {event['name']!r}"
    for name in {"ts", "dur"} & set(event):
        value = event[name]
        if type(value) not in (int, float) or not math.isfinite(value) or value < 0:
            yield f"{phase} {event['name']}: {name} {value!r}"
    if not isinstance(event.get("args", {}), Mapping):
        yield f"{phase}: args {event['args']!r}"
    if phase == "C" and not (
        event["args"]
        and all(type(v) in (int, float) and math.isfinite(v) for v in event["args"].values())
    ):
        yield f"C {event['name']}: values {event['args']!r}"
    if phase == "i" and event["s"] not in ("g", "p", "t"):
        yield f"i: scope {event['s']!r}"
    if phase in "tf" and event["bp"] != "e":
        yield f"{phase}: bp {event['bp']!r}"
    if phase == "M":
        key, kind = METADATA.get(event["name"], ("", object))
        if type(event["args"].get(key)) is not kind:
            yield f"M {event['name']}: {event['args']!r}"


def _metadata_faults(events: Sequence[Event]) -> Iterator[str]:
    given = Counter(
        (e["name"], e["pid"], e["tid"] if e["name"].startswith("thread") else 0)
        for e in events
        if e["ph"] == "M"
    )
    yield from (f"{key} is given {count} times" for key, count in given.items() if count > 1)
    for event in events:
        pid, tid = event["pid"], event["tid"]
        if ("process_name", pid, 0) not in given:
            yield f"process {pid} has no name"
        if event["ph"] in "Xbi" and ("thread_name", pid, tid) not in given:
            yield f"thread {tid} of process {pid} has no name"


def _slice_faults(events: Sequence[Event]) -> Iterator[str]:
    """Slices of a thread must lie inside of each other, or apart."""
    threads: dict[tuple[int, int], list[tuple[int, int, str]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin, end = _ns(event["ts"]), _ns(event["ts"] + event["dur"])
            threads[event["pid"], event["tid"]].append((begin, end, event["name"]))
    for slices in threads.values():
        around: list[tuple[int, int, str]] = []
        for begin, end, name in sorted(slices, key=lambda each: (each[0], -each[1])):
            while around and around[-1][1] <= begin:
                around.pop()
            if around and end > around[-1][1]:
                yield f"{name} at {begin} ns overlaps {around[-1][2]}"
            around.append((begin, end, name))


def _wait_faults(events: Sequence[Event]) -> Iterator[str]:
    found: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "be":
            found[event["cat"], event["id"]].append(event)
    for key, pair in found.items():
        phases = [event["ph"] for event in pair]
        if phases != ["b", "e"] or pair[0]["name"] != pair[1]["name"]:
            yield f"wait {key}: {phases}"
        elif pair[1]["ts"] < pair[0]["ts"]:
            yield f"wait {key} ends before its begin"


def _flow_faults(events: Sequence[Event]) -> Iterator[str]:
    slices = [event for event in events if event["ph"] == "X"]
    flows: dict[tuple[str, str, Any], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            flows[event["cat"], event["name"], event["id"]].append(event)
    for key, steps in flows.items():
        phases = "".join(event["ph"] for event in steps)
        if phases != "s" + "t" * (len(phases) - 2) + "f":
            yield f"flow {key}: {phases}"
        if any(one["ts"] > two["ts"] for one, two in itertools.pairwise(steps)):
            yield f"flow {key} goes back in time"
        for step in steps:
            if not any(_is_around(slice_, step) for slice_ in slices):
                yield f"flow {key}: no slice at {step['ts']}"


def _is_around(slice_: Event, step: Event) -> bool:
    begin, end = _ns(slice_["ts"]), _ns(slice_["ts"] + slice_["dur"])
    same_thread = slice_["pid"] == step["pid"] and slice_["tid"] == step["tid"]
    return same_thread and begin <= _ns(step["ts"]) <= end


def _ns(us: float) -> int:
    return round(us * 1000)

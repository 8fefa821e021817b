"""Interleaved timing calls each side in each round and excludes the warm-up."""

from __future__ import annotations

from edge_inference.engines.interleaved_timing import time_interleaved


def test_sides_are_interleaved_and_warm_up_is_not_counted() -> None:
    calls: list[str] = []
    ticks = iter(range(0, 1_000_000_000, 1_000_000))
    found = time_interleaved(
        {"a": lambda turn: calls.append(f"a{turn}"), "b": lambda turn: calls.append(f"b{turn}")},
        2,
        warm_up=1,
        now_ns=lambda: next(ticks),
    )
    assert calls == ["a0", "b0", "b1", "a1", "a2", "b2"]
    assert found == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_without_sides_nothing_is_timed() -> None:
    assert time_interleaved({}, 5) == {}

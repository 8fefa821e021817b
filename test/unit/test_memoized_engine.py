"""A memoized engine computes each input once, up to a limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_inference.optimize.memoized_engine import MemoizedEngine


def test_outputs_are_memoized_up_to_a_limit() -> None:
    calls: list[float] = []

    def infer(inputs: Any) -> Any:
        calls.append(float(inputs["x"].flat[0]))
        return {"y": inputs["x"] * 2}

    memoized = MemoizedEngine(infer, limit_bytes=16)
    for value in (1.0, 2.0, 3.0, 1.0, 2.0, 3.0):
        assert memoized({"x": np.array([value])})["y"][0] == value * 2
    assert calls == [1.0, 2.0, 3.0, 3.0]
    assert not memoized({"x": np.array([1.0])})["y"].flags.writeable
    same_bytes = {"x": np.array([1.0]).view(np.int64)}
    memoized(same_bytes)
    assert len(calls) == 5
    same_numbers = {"x": np.array([[1.0]])}
    assert memoized(same_numbers)["y"].shape == (1, 1)

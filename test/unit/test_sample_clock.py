"""Time stamps of audio blocks."""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.speech.audio.sample_clock import SampleClock


def test_stamps_are_even_for_uneven_arrival() -> None:
    clock, rng = SampleClock(), np.random.default_rng(1)
    arrivals = [32_000_000 * (i + 1) + int(rng.integers(0, 10_000_000)) for i in range(200)]
    stamps = [clock.stamp_ns(512, 16_000, now) for now in arrivals]
    steps = np.diff(stamps)
    assert abs(steps - 32_000_000).max() < 200_000
    assert abs(stamps[-1] - 32_000_000 * 199) < 12_000_000


def test_stamps_follow_a_drifting_device_clock() -> None:
    clock = SampleClock()
    true_ns = [round(32_000_000 * 1.0005 * (i + 1)) for i in range(5000)]
    stamps = [clock.stamp_ns(512, 16_000, now) for now in true_ns]
    assert abs(stamps[-1] - (true_ns[-1] - 32_000_000)) < 3_000_000


@pytest.mark.parametrize("jump_ns", [5_000_000_000, -5_000_000_000])
def test_stamps_restart_after_a_jump(jump_ns: int) -> None:
    clock = SampleClock()
    clock.stamp_ns(512, 16_000, 10_000_000_000)
    now_ns = 10_032_000_000 + jump_ns
    assert clock.stamp_ns(512, 16_000, now_ns) == now_ns - 32_000_000

"""Ctrl-C once ends a run in good order, twice at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from edge_inference.cli.signals import cancel_on_signal, catch_signals
from edge_inference.errors import ConfigError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_leaves(
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    with catch_signals() as interrupted:
        signal.raise_signal(number)
        assert interrupted.is_set() and not left
        signal.raise_signal(number)
    assert left == [128 + number]
    assert capfd.readouterr().err == "edge-inference: interrupted\n"


@pytest.mark.parametrize("place", range(12))
def test_a_signal_at_any_place_ends_a_wait(place: int) -> None:
    """The handler runs just before a line that the wait executes."""
    lines_left = place

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines_left
        if frame.f_code.co_name not in ("wait", "is_set"):
            return None
        if event == "line":
            lines_left -= 1
            if lines_left == -1:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    with catch_signals() as interrupted:
        sys.settrace(trace)
        try:
            assert interrupted.wait(30.0)
        finally:
            sys.settrace(before)


def test_a_wait_ends_without_a_signal() -> None:
    with catch_signals() as interrupted:
        assert not interrupted.wait(0.0)
        assert not interrupted.wait(-1.0)
        assert not interrupted.wait(0.01)


def test_what_is_stuck_ends_some_time_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    ended = threading.Event()
    monkeypatch.setattr(os, "_exit", lambda code: (left.append(code), ended.set()))
    with catch_signals(max_s=0.01):
        signal.raise_signal(signal.SIGTERM)
        assert ended.wait(60.0)
    assert left == [128 + signal.SIGTERM]


def test_what_ends_in_time_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = threading.active_count()
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    with catch_signals(max_s=3600.0):
        signal.raise_signal(signal.SIGTERM)
        assert threading.active_count() == threads + 1
    deadline_s = time.monotonic() + 60.0
    while threading.active_count() > threads:
        assert time.monotonic() < deadline_s
    assert left == []


def test_the_previous_handlers_are_restored() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with catch_signals():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_work_raises_the_number_of_the_signal(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, cancel_on_signal() as cancelled:
        signal.raise_signal(number)
        assert cancelled()
        raise ConfigError("half made")
    assert caught.value.args == (number,)

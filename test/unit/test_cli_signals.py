"""Ctrl-C once ends a run in good order, twice at once."""

from __future__ import annotations

import os
import signal

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


def test_the_handlers_before_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with catch_signals():
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_that_a_signal_cut_short_tells_which(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, cancel_on_signal() as cancelled:
        signal.raise_signal(number)
        assert cancelled()
        raise ConfigError("half made")
    assert caught.value.args == (number,)

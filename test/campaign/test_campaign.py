"""The hostile campaign in short: nothing dies, hangs or goes on wrongly."""

from __future__ import annotations

import pytest

from benchmarks import campaign
from benchmarks.campaign import QUICK, Tally

SEED = 1


@pytest.fixture
def tally() -> Tally:
    return Tally()


def test_messages(tally: Tally) -> None:
    """How long a message holds the executor is a claim of the benchmark."""
    campaign.messages(tally, SEED, QUICK)
    assert tally.tried > QUICK.mutations
    assert tally.crashes + tally.wrong == []
    assert tally.lost == 0
    assert tally.peak_mib <= campaign.MEMORY_BOUND_MIB


def test_floods(tally: Tally) -> None:
    """How soon it stops is a claim of the benchmark; here it stops at all, and nothing dies."""
    campaign.floods(tally, QUICK)
    assert tally.stops_ms
    assert tally.crashes + tally.wrong == []


def test_clocks(tally: Tally) -> None:
    """How soon it stands is a claim of the benchmark; here it stands."""
    campaign.clocks(tally, SEED, QUICK)
    assert tally.tried == QUICK.clocks
    assert tally.crashes + tally.wrong == []


def test_processes(tally: Tally) -> None:
    campaign.processes(tally, SEED, QUICK)
    assert tally.tried
    assert tally.crashes + tally.wrong == []

"""The attribution of injected faults in short; its rates are claims of the benchmark."""

from __future__ import annotations

import pytest

from benchmarks.attribution_faults import Fault
from benchmarks.attribution_pipeline import STAGES, open_layout
from benchmarks.attribution_throttling import MACHINES
from benchmarks.attribution_trials import Trial, TrialRunner, make_trials
from benchmarks.attribution_verdict import CAUSES, judge

RATE_HZ = 20.0
#: Faults that stand out on any machine: kind, stage, milliseconds and share.
FAULTS = [
    Fault("blocked", "inference", 120.0, 0.5, 1),
    Fault("drop", "decode", 3.0, 0.5, 2),
    Fault("lock, asleep", "inference", 150.0, 0.5, 3),
    Fault("clock", "decode", -7_200_000.0, 0.5, 4),
    Fault("slow subscriber", "preprocess", 120.0, 0.5, 5),
    Fault("stopped", "inference", 150.0, 0.5, 6),
]


def test_causes_are_found() -> None:
    """On a busy machine its load may come first."""
    with open_layout("one process", RATE_HZ) as pipeline:
        runner = TrialRunner(pipeline, has_hogs=False)
        verdicts = [
            judge(runner.run(Trial("one process", fault, 1, MACHINES[0]))) for fault in FAULTS
        ]
    found = {each.outcome.trial.fault.kind: each.place_rank is not None for each in verdicts}
    assert found == {fault.kind: True for fault in FAULTS}


@pytest.mark.parametrize("layout", ["one process", "camera outside", "several processes"])
def test_trials_cover_all_kinds_and_differ_by_seed(layout: str) -> None:
    trials = make_trials(layout, 60, seed=1)
    assert {each.fault.kind for each in trials} <= set(CAUSES)
    places = {(each.fault.kind, each.fault.stage) for each in trials}
    at_each_stage = ("blocked", "slow", "page faults", "drop", "slow subscriber", "clock")
    assert places >= {(kind, stage) for kind in at_each_stage for stage in STAGES}
    assert trials == make_trials(layout, 60, seed=1)
    assert trials != make_trials(layout, 60, seed=2)

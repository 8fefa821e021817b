"""Processes of runs that crash, fail to start, or ignore a signal."""

from __future__ import annotations

import pytest

from edge_inference.cli.signals import Interrupt
from edge_inference.cli.validate import scenario_runs
from edge_inference.cli.validate.scenario_runs import RunOutcome, run_scenarios
from edge_inference.observe.targets.target_file import Scenario, Target

SCENARIO = Scenario("a", (Target("age_ms", "decode", "p95", 5.0, True),), pipeline="perception")


def run(code: str, monkeypatch: pytest.MonkeyPatch, interrupted: Interrupt) -> RunOutcome:
    monkeypatch.setattr(scenario_runs, "_CODE", f"import json, os, signal, time; {code}")
    messages: list[str] = []
    outcome = run_scenarios((SCENARIO,), lambda *phase: None, messages.append, interrupted)
    assert outcome.of(SCENARIO) == [outcome.failure]
    return outcome


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.abort()", "ended by SIGABRT"),
        ("os._exit(3)", "ended with code 3"),
        ("sys.exit('libfoo.so is missing\\n')", "ended with code 1: libfoo.so is missing"),
        ("sys.stdin.close(); os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    ],
)
def test_an_end_without_a_result(code: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = run(code, monkeypatch, Interrupt()).failure
    assert failure == f"the process of the pipeline {reason}"


def test_a_reason_of_the_process_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "print(json.dumps({'failure': 'no camera'}), flush=True)"
    assert run(code, monkeypatch, Interrupt()).failure == "no camera"


def test_a_process_that_ignores_the_signal_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario_runs, "REPORTING_GRACE_S", 0.0)
    monkeypatch.setattr(scenario_runs, "_END_S", 0.1)
    interrupted = Interrupt()

    class Late(Interrupt):
        """Set once the process runs."""

        def is_set(self) -> bool:
            was_set, _ = interrupted.is_set(), interrupted.set()
            return was_set

    code = "signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(3600)"
    assert run(code, monkeypatch, Late()).failure == "interrupted"

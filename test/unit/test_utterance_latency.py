"""The way of an utterance, also while its last report is still to come."""

from __future__ import annotations

import threading

import pytest

from edge_inference.cli.voice.utterance_latency import UtteranceLatency
from edge_inference.core.runtime.latency import StageTiming
from timeline_cases import EPOCH_NS, timing


def utterance() -> list[StageTiming]:
    return [
        timing("speech_recognition", 250, 260, 400, 401),
        timing("intent_parser", 400.5, 401, 405, 406),
        timing("planner", 405.5, 406, 410, 411),
        timing("command", 410.5, 410.5, 412, 412),
    ]


def test_the_report_of_the_command_is_waited_for() -> None:
    latency = UtteranceLatency(None, lambda: 0)
    *before, command = utterance()
    for each in before:
        latency.add(each)
    assert latency.find(EPOCH_NS, has_command=False).last.stage == "planner"
    thread = threading.Thread(target=latency.add, args=(command,))
    thread.start()
    whole = latency.find(EPOCH_NS, has_command=True)
    thread.join()
    assert whole is not None and whole.last.stage == "command"
    assert whole.sum_ms == pytest.approx(412.0)


def test_an_utterance_that_no_stage_has_reported() -> None:
    latency = UtteranceLatency(None, lambda: 0)
    assert latency.find(EPOCH_NS, has_command=False) is None


def test_the_report_of_a_run_has_the_commands_in_it() -> None:
    latency = UtteranceLatency(400.0, lambda: 0)
    for each in utterance():
        latency.add(each)
    latency.add(timing("voice_activity", 1, 2, 3, 4, captured=-50.0))
    report = latency.report()
    ends = {end.stage: (end.count, end.whole.p50, end.deadline_misses) for end in report.ends}
    assert ends == {
        "command": (1, pytest.approx(412.0), 1),
        "voice_activity": (1, pytest.approx(54.0), 0),
    }

"""Speech becomes transcripts, in command and in free mode; stale partial segments are dropped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from edge_inference.composition.bus import Publisher
from edge_inference.core.directives.directive import Directive, DirectiveLevel, DirectiveLimits
from edge_inference.core.settings import rules
from edge_inference.core.voice import Intent, IntentArray
from edge_inference.errors import ConfigError
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.audio import SpeechSegmentAdapter
from edge_inference.nodes.conversions.performance import DirectiveAdapter
from edge_inference.nodes.conversions.voice import IntentArrayAdapter
from edge_inference.nodes.throttle_client import ThrottleClientSettings
from edge_inference.nodes.voice import recognizer_model
from recognizer_rig import FakeCommandMode, Opened, make_segment, replace_models
from rig import DEADLINE_S, Outside, Rig, wait_for


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Opened]:
    return replace_models(monkeypatch)


@pytest.fixture
def speech(rig: Rig) -> Publisher:
    node = rig.container.node
    return rig.call(lambda: Publisher(node, SpeechSegmentAdapter(), "/ai/speech", RELIABLE))


def test_command_mode(rig: Rig, speech: Publisher, opened: list[Opened]) -> None:
    transcripts, timings = rig.tap("/ai/transcript"), rig.tap("/ai/stage_timing")
    node = rig.load("SpeechRecognition")
    speech.publish(make_segment(0.5))
    (transcript,) = transcripts.wait()
    assert (transcript.text, transcript.confidence, transcript.mode) == (
        "go forward",
        0.75,
        "command",
    )
    assert (transcript.stamp_ns, transcript.frame_id, transcript.locale) == (7, "microphone", "en")
    assert transcript.is_final
    assert timings.wait()[0].model == "fake"
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_cleanup)
    assert len(opened) == 2 and all(each.is_closed for each in opened)


def test_speech_outside_the_grammar_has_a_reason_at_its_end(rig: Rig, speech: Publisher) -> None:
    transcripts = rig.tap("/ai/transcript")
    node = rig.load("SpeechRecognition")
    speech.publish(make_segment(0.0, is_final=False))
    wait_for(lambda: node.health.status(0).values["processed"] == "1", "the partial one")
    speech.publish(make_segment(0.0))
    partial, final = transcripts.wait(2)
    assert (partial.text, partial.is_final) == ("", False)  # speech is in progress
    assert (final.text, final.is_final) == ("", True)
    assert final.problem == "none of the grammar's phrases"


def test_the_grammar_can_change_and_an_invalid_one_is_refused(
    rig: Rig, speech: Publisher, tmp_path: Path
) -> None:
    bad, other = tmp_path / "bad.yaml", tmp_path / "other.yaml"
    bad.write_text("intents: {}\n")
    other.write_text("intents: {stop: {phrases: [whoa]}}\n")
    node = rig.load("SpeechRecognition")

    def ask(file: Path) -> SetParametersResult:
        change = [Parameter("grammar", value=str(file))]
        return rig.call(lambda: node.set_parameters(change))[0]

    answer = ask(bad)
    assert not answer.successful
    assert str(bad) in answer.reason
    assert ask(other).successful
    speech.publish(make_segment(0.5))
    wait_for(
        lambda: node._model.transcriber.command_mode.grammar.phrases() == ("whoa",),
        "the other grammar",
    )


@pytest.mark.parametrize(
    ("question_ns", "is_asked"),
    [
        (7, True),
        (-13 * 10**9, False),
        (13 * 10**9, False),  # the clock has run back since
    ],
)
def test_an_answer_is_expected_after_a_question(
    rig: Rig, speech: Publisher, question_ns: int, is_asked: bool
) -> None:
    node = rig.load("SpeechRecognition")
    intents = rig.call(
        lambda: Publisher(rig.container.node, IntentArrayAdapter(), "/ai/intent", RELIABLE)
    )
    question = IntentArray(
        (Intent("move"),), 0.7, "", "embedding", stamp_ns=10**11, needs_confirmation=True
    )
    intents.publish(replace(question, stamp_ns=question.stamp_ns + question_ns))
    wait_for(lambda: node._question_ns > 0, "the question")
    transcripts = rig.tap("/ai/transcript")
    speech.publish(make_segment(0.5, stamp_ns=10**11))
    transcripts.wait()
    assert node._model.transcriber.command_mode.expects_answer == is_asked


def test_mode_both_transcribes_speech_outside_the_grammar(rig: Rig, speech: Publisher) -> None:
    transcripts = rig.tap("/ai/transcript")
    rig.load("SpeechRecognition", mode="both")
    speech.publish(make_segment(0.5))
    assert (transcripts.wait()[0].text, transcripts.wait()[0].mode) == ("go forward", "command")
    speech.publish(make_segment(0.125))
    assert [(each.text, each.mode) for each in transcripts.wait(2)][1] == ("level 0.125", "free")


def test_the_mode_can_change(rig: Rig, speech: Publisher) -> None:
    transcripts = rig.tap("/ai/transcript")
    node = rig.load("SpeechRecognition")
    rig.call(lambda: node.set_parameters([Parameter("mode", value="free")]))
    speech.publish(make_segment(0.5))
    speech.publish(make_segment(0.0))
    transcripts.wait(2)
    assert [(each.text, each.mode) for each in transcripts] == [("level 0.5", "free"), ("", "free")]
    assert transcripts[1].problem == "no words in what was said"


def test_a_superseded_partial_segment_is_dropped(rig: Rig, speech: Publisher) -> None:
    transcripts = rig.tap("/ai/transcript")
    node = rig.load("SpeechRecognition")
    FakeCommandMode.gate.clear()
    for stamp_ns, is_final in ((1, False), (2, False), (3, True)):
        speech.publish(make_segment(0.5, stamp_ns, is_final))
        if stamp_ns == 1:
            assert FakeCommandMode.working.acquire(timeout=DEADLINE_S)
    FakeCommandMode.gate.set()
    transcripts.wait(2)
    assert [each.stamp_ns for each in transcripts] == [1, 3]
    assert node.health.drop_counts() == {"superseded": 1}


def test_a_truncated_segment_is_not_superseded_by_the_next_utterance(
    rig: Rig, speech: Publisher
) -> None:
    """No later segment contains it, and it may be a stop."""
    transcripts = rig.tap("/ai/transcript")
    rig.load("SpeechRecognition")
    FakeCommandMode.gate.clear()
    speech.publish(make_segment(0.5, 1))
    assert FakeCommandMode.working.acquire(timeout=DEADLINE_S)
    speech.publish(make_segment(0.5, 2, is_final=False))
    speech.publish(make_segment(0.5, 9, is_final=False, start_ns=8))
    FakeCommandMode.gate.set()
    transcripts.wait(3)
    assert [each.stamp_ns for each in transcripts] == [1, 2, 9]


def test_a_missing_grammar_changes_nothing(
    rig: Rig, speech: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcripts = rig.tap("/ai/transcript")
    node = rig.load("SpeechRecognition")
    before = node.parameters.current

    def vanish(*given: object) -> None:
        raise ConfigError("no such file")

    monkeypatch.setattr(recognizer_model, "make_command_mode", vanish)
    change = [Parameter("stop_words", value=["whoa"]), Parameter("max_speech_s", value=2.0)]
    rig.call(lambda: node.set_parameters_atomically(change))
    speech.publish(make_segment(0.5))
    transcripts.wait()
    assert node._model.recognizer.settings.max_speech_s == node.parameters.current.max_speech_s
    assert node.parameters.current == before


def test_a_failed_run_costs_one_segment(rig: Rig, speech: Publisher) -> None:
    transcripts = rig.tap("/ai/transcript")
    node = rig.load("SpeechRecognition")
    # Now, because a stamp of 1970 is an error too.
    speech.publish(make_segment(-1.0, stamp_ns=node.now_ns()))
    speech.publish(make_segment(0.5, stamp_ns=node.now_ns()))
    transcripts.wait()
    assert node.health.drop_counts() == {"invalid": 1}
    assert node.health.status(0).values["last error"] == "out of memory"


def test_seen_from_another_process(rig: Rig, speech: Publisher, outside: Outside) -> None:
    node = rig.load("SpeechRecognition")
    received = outside.listen("/ai/transcript", "edge_inference/Transcript")
    rig.wait_for_subscribers(node, "/ai/transcript")
    speech.publish(make_segment(0.5))
    assert received.wait()[0]["text"] == "go forward"


# Under the platform manager ---------------------------------------------------------------------


class Asker:
    """Publishes directives like a platform manager."""

    def __init__(self, rig: Rig) -> None:
        node = rig.container.node
        self._publisher = rig.call(
            lambda: Publisher(node, DirectiveAdapter(), "/ai/performance_directive", RELIABLE)
        )

    def ask(self, number: int, **limits) -> None:
        level = DirectiveLevel.REDUCED if limits else DirectiveLevel.FULL
        self._publisher.publish(
            Directive(
                number,
                "asker",
                "/ai/speech_recognition",
                level,
                0.5,
                DirectiveLimits(**limits),
                "a test",
            )
        )


def test_a_rate_limit_drops_only_partial_segments(rig: Rig, speech: Publisher) -> None:
    transcripts, workloads = rig.tap("/ai/transcript"), rig.tap("/ai/workload")
    node = rig.load("SpeechRecognition", safety_critical=False, queue_depth=100)
    asker = Asker(rig)
    asker.ask(1, max_rate_hz=0.5)
    assert workloads[-1].directive_id == 1
    assert (workloads[-1].limits_source, workloads[-1].limits.max_rate_hz) == ("directive", 0.5)
    for stamp_ns in range(1, 21):
        speech.publish(make_segment(0.5, stamp_ns, is_final=False))
    for stamp_ns in range(21, 26):
        speech.publish(make_segment(0.5, stamp_ns, is_final=True))
    wait_for(lambda: [t.stamp_ns for t in transcripts if t.is_final] == [*range(21, 26)], "all")
    assert node.health.drop_counts()["rate_limited"] >= 15
    assert sum(not each.is_final for each in transcripts) <= 5
    asker.ask(2)
    before = node.health.drop_counts()["rate_limited"]
    for stamp_ns in range(26, 36):
        speech.publish(make_segment(0.5, stamp_ns, is_final=False))
    wait_for(lambda: transcripts[-1].stamp_ns == 35, "the last partial")
    assert node.health.drop_counts()["rate_limited"] == before


def test_a_rejected_partial_segment_does_not_supersede_the_one_before(
    rig: Rig, speech: Publisher
) -> None:
    transcripts = rig.tap("/ai/transcript")
    node = rig.load("SpeechRecognition", safety_critical=False)
    FakeCommandMode.gate.clear()
    speech.publish(make_segment(0.5, 1))
    assert FakeCommandMode.working.acquire(timeout=DEADLINE_S)
    speech.publish(make_segment(0.5, 2, is_final=False))
    Asker(rig).ask(1, max_rate_hz=0.0)
    speech.publish(make_segment(0.5, 3, is_final=False))
    FakeCommandMode.gate.set()
    transcripts.wait(2)
    assert [each.stamp_ns for each in transcripts] == [1, 2]
    assert node.health.drop_counts() == {"rate_limited": 1}


def test_recognition_is_not_throttled_by_default(rig: Rig, speech: Publisher) -> None:
    transcripts, workloads = rig.tap("/ai/transcript"), rig.tap("/ai/workload")
    node = rig.load("SpeechRecognition")
    Asker(rig).ask(1, max_rate_hz=0.0)
    speech.publish(make_segment(0.5, 1, is_final=False))
    transcripts.wait()
    assert workloads[-1].safety_critical and workloads[-1].limits_source == "critical"
    assert workloads[-1].priority > rules(ThrottleClientSettings)["priority"].default
    assert node.health.drop_counts() == {}


def test_the_workload_reports_the_directive(rig: Rig, speech: Publisher) -> None:
    transcripts, workloads = rig.tap("/ai/transcript"), rig.tap("/ai/workload")
    node = rig.load("SpeechRecognition", safety_critical=False)
    Asker(rig).ask(1, precision_ceiling="int8")
    speech.publish(make_segment(0.5))
    transcripts.wait()
    rig.call(node._throttle_client.update)
    last = workloads[-1]
    assert (last.node, last.demand_hz > 0, last.rate_hz > 0) == (
        "/ai/speech_recognition",
        True,
        True,
    )
    (option,) = last.operating_points
    assert (option.model, last.operating_point) == ("fake", 0)
    assert option.process_ms is not None
    assert "only one recognizer" in last.problem
    rig.call(node.trigger_deactivate)
    rig.call(node.trigger_cleanup)
    count = len(workloads)
    rig.call(node._throttle_client.update)
    assert len(workloads) == count

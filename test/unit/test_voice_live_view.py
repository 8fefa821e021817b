"""The output of a voice run: level and speech, as lines, as JSON and on a terminal."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from edge_inference.cli.voice.expectations import ExpectedSentence, SentenceResult
from edge_inference.cli.voice.live_state import (
    QUIET_DBFS,
    AudioLevelMeter,
    VoiceLiveState,
    level_dbfs,
)
from edge_inference.cli.voice.live_view import VoiceLiveView
from edge_inference.cli.voice.output import VoiceJson, VoiceLines, VoiceSummary
from edge_inference.cli.voice.utterance_tracker import Utterance
from edge_inference.cli.voice.velocity_record import CommandedMotion
from edge_inference.core.audio import AudioChunk, SpeechSegment
from edge_inference.core.voice import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)


class Clock:
    """Seconds that only pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def chunk(samples: np.ndarray) -> AudioChunk:
    return AudioChunk(samples.astype(np.float32), 16_000, 0)


def speech(is_final: bool) -> SpeechSegment:
    return SpeechSegment(np.zeros(16, np.float32), 1, 2, is_final)


def partial(text: str) -> Transcript:
    return Transcript(text, 0.5, "command", 2, is_final=False)


UTTERANCE = Utterance(
    2,
    transcript=Transcript("go forward", 0.91, "command", 2),
    spoken=IntentArray(
        (Intent("move", {"direction": IntentSlot("direction", "forward")}),), 0.9, "", "grammar", 2
    ),
    plan=ActionPlan("move", (ActionStep("move", distance_m=0.5),), 2),
    after_ms={"speech": 200.0, "text": 290.0},
)
SUMMARY = VoiceSummary(1, 1, 7, "/ai/cmd_vel", (0.25, 0.0), {"speech": 200.0})


@pytest.mark.parametrize(
    ("samples", "dbfs"),
    [
        (np.zeros(0), QUIET_DBFS),
        (np.zeros(512), QUIET_DBFS),
        (np.full(512, 1e-9), QUIET_DBFS),
        (np.full(512, 0.1), -20.0),
        (np.tile([1.0, -1.0], 256), 0.0),
        (np.sin(np.arange(512) * np.pi / 16), -3.01),
    ],
)
def test_the_level_is_rms_to_full_scale(samples: np.ndarray, dbfs: float) -> None:
    assert level_dbfs(chunk(samples)) == pytest.approx(dbfs, abs=0.01)


def test_a_snapshot_has_the_highest_level_since_the_last_one() -> None:
    clock = Clock()
    meter = AudioLevelMeter(clock)
    assert meter.snapshot() == (None, False, "")
    for value in (0.01, 0.1, 0.001):
        meter.add_audio(chunk(np.full(512, value)))
    level, *_ = meter.snapshot()
    assert level == pytest.approx(-20.0, abs=0.01)
    # A chunk that is a little late is no silence.
    assert meter.snapshot()[0] == level
    meter.add_audio(chunk(np.full(512, 0.01)))
    assert meter.snapshot()[0] == pytest.approx(-40.0, abs=0.01)
    clock.now = 1.0
    assert meter.snapshot()[0] is None


def test_speech_goes_on_until_the_utterance_ends() -> None:
    clock = Clock()
    meter = AudioLevelMeter(clock)
    meter.add_speech(speech(is_final=False))
    meter.add_transcript(partial("go for"))
    assert meter.snapshot()[1:] == (True, "go for")
    meter.add_speech(speech(is_final=True))
    assert meter.snapshot()[1:] == (False, "")
    meter.add_transcript(partial("go forward"))  # comes late
    assert meter.snapshot()[1:] == (False, "")
    # What was cut off without an end, as when the robot begins to speak, ends by itself.
    meter.add_speech(speech(is_final=False))
    clock.now = 5.0
    assert meter.snapshot()[1:] == (False, "")


def test_lines_are_plain() -> None:
    stream = io.StringIO()
    output = VoiceLines(stream)
    output.progress(lambda: pytest.fail("nobody looks at what is not shown"))
    output.utterance(UTTERANCE)
    output.finish(SUMMARY)
    output.finish(None)
    assert stream.getvalue().splitlines() == [
        '"go forward" -> move 0.5 m (ms after the last word: speech 200, text 290)',
        "1 utterances, 1 with a plan; p50 in ms after the last word: speech 200",
        "7 velocities on /ai/cmd_vel, up to 0.25 m/s and 0 rad/s",
    ]


def test_json_has_checks_only_where_there_are_any() -> None:
    stream = io.StringIO()
    output = VoiceJson(stream)
    output.utterance(UTTERANCE)
    output.checked(
        SentenceResult(ExpectedSentence("a.wav", "x", "y"), UTTERANCE, CommandedMotion(), ("no",))
    )
    output.finish(SUMMARY)
    output.finish(SUMMARY.with_checks(0, 1))
    plain, checked, first, second = map(json.loads, stream.getvalue().splitlines())
    assert "wrong" not in plain
    assert plain.items() <= checked.items()
    assert (checked["file"], checked["wrong"]) == ("a.wav", ["no"])
    assert set(first["summary"]) == {"utterances", "planned", "velocities", "p50_ms"}
    assert (second["summary"]["right"], second["summary"]["expected"]) == (0, 1)


@pytest.mark.parametrize("width", [200, 40, 12])
def test_the_live_area_never_changes_its_height(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    long = Utterance(2, transcript=Transcript("go " * 90, 0.5, "free", 2), after_ms={"text": 1.0})
    looks = [
        VoiceLiveState(None, False, "", None, (0.0, 0.0)),
        VoiceLiveState(-3.0, True, "go forward " * 20, UTTERANCE, (0.25, -0.5)),
        VoiceLiveState(QUIET_DBFS, False, "", long, (0.0, 0.0)),
    ]
    heights = set()
    for look in looks:
        stream = Terminal()
        output = VoiceLiveView(stream, "a/very/long/path/" * 9 + "[bold].wav")
        output.progress(lambda look=look: look)
        heights.add(stream.getvalue().count("\n"))
        output.finish(None)
    assert len(heights) == 1


def test_the_live_area_shows_all_stages_and_is_removed_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    output = VoiceLiveView(stream, "[a].wav")
    output.progress(lambda: VoiceLiveState(-20.0, True, "turn", UTTERANCE, (0.25, 0.0)))
    shown = stream.getvalue()
    for words in (
        "[a].wav",
        "-20 dBFS",
        "yes",
        "turn",
        '"go forward" 0.91',
        "move direction forward",
        "move 0.5 m",
        "speech 200, text 290 ms after the last word",
        "0.25 m/s",
    ):
        assert words in shown
    output.utterance(UTTERANCE)
    output.checked(SentenceResult(None, UTTERANCE, CommandedMotion(), ("not expected",)))
    output.problem("[x] is gone")
    output.finish(SUMMARY)
    end = stream.getvalue()[len(shown) :]
    assert "\x1b[?25h" in end  # the cursor is back
    for words in ("go forward", "WRONG: not expected", "edge-inference: [x] is gone", "7 velocit"):
        assert words in end

"""Expected results of sentences, and their comparison with the actual ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_inference.cli.voice.expectations import (
    EXPECTED_FILE,
    Expectation,
    ExpectedIntent,
    ExpectedSentence,
    compare_sentence,
    load_expectation,
)
from edge_inference.cli.voice.file_matching import (
    FileMatcher,
    SentenceChecker,
    read_file_lengths,
    select_sentences,
)
from edge_inference.cli.voice.run import sample_folder
from edge_inference.cli.voice.utterance_tracker import Utterance
from edge_inference.cli.voice.velocity_record import CommandedMotion, VelocityRecord
from edge_inference.core.audio import AudioChunk
from edge_inference.core.voice import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.errors import ConfigError
from edge_inference.speech.audio.sources import open_audio_input

SHIPPED = sample_folder() / EXPECTED_FILE
TURN = ExpectedSentence(
    "turn.flac",
    "turn left",
    "turn left",
    (ExpectedIntent("turn", {"direction": "left", "angle": 1.5708}),),
    ("turn 1.5708 rad 0.5 rad/s",),
    ("0.5 rad/s",),
    angle_rad=1.5708,
)
TURNED = CommandedMotion((((0.0, 0.5), 2.6),), 0.0, 1.57)


def turn(stamp_ns: int = 1, text: str = "Turn left!") -> Utterance:
    slots = {
        "direction": IntentSlot("direction", "left"),
        "angle": IntentSlot("angle", 1.570796, "rad"),
    }
    return Utterance(
        stamp_ns,
        transcript=Transcript(text, 0.9, "command", stamp_ns),
        spoken=IntentArray((Intent("turn", slots),), 0.9, text, "grammar", stamp_ns),
        plan=ActionPlan(
            "turn", (ActionStep("turn", angle_rad=1.570796, rate_radps=0.5),), stamp_ns
        ),
        after_ms={"speech": 200.0, "command": 300.0},
    )


def test_an_expected_result_is_right() -> None:
    (checked,) = compare_sentence(TURN, [(turn(), TURNED)])
    assert checked.wrong == ()
    assert checked.lines()[-1].split() == ["result", "right"]
    assert checked.as_json()["velocities"]["angle_rad"] == 1.57


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": "turn right"}, "text: expected 'turn right'"),
        ({"intents": ()}, "intents: expected []"),
        ({"intents": TURN.intents * 2}, "intents: expected"),
        ({"intents": (ExpectedIntent("move", TURN.intents[0].slots),)}, "intents: expected"),
        (
            {"intents": (ExpectedIntent("turn", {"direction": "left", "angle": 0.7854}),)},
            "intents: expected",
        ),
        ({"intents": (ExpectedIntent("turn", {"direction": "left"}),)}, "intents: expected"),
        ({"steps": ()}, "steps: expected []"),
        ({"held": ("0.25 m/s",)}, "held: expected ['0.25 m/s']"),
        ({"held": ()}, "held: expected []"),
        ({"angle_rad": 3.1416}, "angle_rad: expected 3.1416, got 1.570"),
        ({"distance_m": 1.0}, "distance_m: expected 1, got 0.000"),
        ({"stopped": True}, "stopped: expected True"),
    ],
)
def test_a_difference_is_wrong(change: dict[str, object], words: str) -> None:
    (checked,) = compare_sentence(replace(TURN, **change), [(turn(), TURNED)])
    (wrong,) = checked.wrong
    assert words in wrong
    assert "WRONG" in checked.lines()[-1]


def test_a_missing_and_an_unexpected_utterance_are_wrong() -> None:
    (checked,) = compare_sentence(TURN, [])
    assert checked.wrong == ("nothing was recognized",)
    first, second = compare_sentence(
        TURN, [(turn(), TURNED), (turn(2, "turn left again"), CommandedMotion())]
    )
    assert (first.wrong, len(second.wrong)) == ((), 1)
    assert "turn left again" in second.wrong[0]
    assert second.as_json()["file"] is None


def chunk(start_s: float) -> AudioChunk:
    return AudioChunk(np.zeros(8000, np.float32), 16_000, round(start_s * 1e9))


def test_each_utterance_is_compared_with_its_file() -> None:
    heard, record = FileMatcher([1.0, 1.0, 1.0]), VelocityRecord()
    nothing = ExpectedSentence("b.flac", "lovely day", "")
    checks = SentenceChecker([TURN, nothing, replace(TURN, file="c.flac")], heard, record)
    for number in range(6):
        heard.add(chunk(10.0 + number * 0.5))
    assert [heard.index_at(round(s * 1e9)) for s in (10.9, 11.1, 12.9)] == [0, 1, 2]
    said_ns = round(10.9e9)
    for number in range(78):
        record.add(said_ns + 300_000_000 + number * 40_000_000, (0.0, 0.5))
    record.add(said_ns + 300_000_000 + 78 * 40_000_000, (0.0, 0.0))
    assert checks.add(turn(said_ns)) == []
    # The next one that is heard belongs to the third file: the second said nothing.
    first, second = checks.add(turn(round(14.5e9)))
    assert (first.sentence, second.wrong) == (TURN, ("nothing was recognized",))
    assert first.wrong == ()
    (third,) = checks.finish()
    assert third.sentence is not None and third.sentence.file == "c.flac"
    assert (checks.right, checks.is_wrong) == (1, True)


def test_every_shipped_sentence_has_a_file_and_an_expected_result() -> None:
    expectation = load_expectation(SHIPPED)
    files = read_file_lengths(str(sample_folder()), expectation.pause_s)
    names = [name for name, _ in files]
    found = select_sentences(str(sample_folder()), names, expectation, SHIPPED)
    assert [sentence.file for sentence in found] == names
    assert names[0] == "go_forward_ten_meters.wav"
    intents = {intent.name for sentence in found for intent in sentence.intents}
    assert intents == {"move", "turn", "look", "stop"}
    # It has to stay a short show: a machine that is not busy adds about three seconds.
    assert sum(length_s for _, length_s in files) < 36.0
    piece = open_audio_input(str(sample_folder() / names[1])).read()
    assert piece is not None and piece.sample_rate == 16_000


def test_files_and_sentences_must_match(tmp_path: Path) -> None:
    expectation = Expectation((TURN,), 1.0)
    with pytest.raises(ConfigError, match=r"expected a sentence for other\.wav, got none"):
        select_sentences(str(tmp_path), ["turn.flac", "other.wav"], expectation, SHIPPED)
    with pytest.raises(ConfigError, match=r"turn\.flac: no such file in"):
        select_sentences(str(tmp_path), [], expectation, SHIPPED)
    assert select_sentences("turn.flac", ["turn.flac"], expectation, SHIPPED) == (TURN,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("sentences: []", "at least one"),
        ("pause_s: soon\nsentences: []", "line 1, pause_s"),
        ("sentences: [{file: a.wav, said: a}]", "text is missing"),
        ("sentences:\n  - {file: a.wav, said: a, text: a, wya_m: 1}", "wya_m: unknown key"),
        ("sentences:\n  - {file: a.wav, said: a, text: a, steps: stop}", "line 2"),
        ("sentences:\n  - {file: a.wav, said: a, text: a, slots: 3}", "slots"),
    ],
)
def test_an_error_in_the_file_names_its_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / EXPECTED_FILE
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_expectation(file)


def test_a_plan_that_is_not_executed_has_a_reason() -> None:
    late = replace(turn(), problem="it is too old")
    (checked,) = compare_sentence(TURN, [(late, CommandedMotion())])
    assert any("0.5 rad/s, but not executed: it is too old" in line for line in checked.lines())
    refused = replace(turn(), plan=ActionPlan("turn", (), 1, is_refused=True, reason="I cannot"))
    (checked,) = compare_sentence(TURN, [(refused, CommandedMotion())])
    assert any("none: I cannot" in line for line in checked.lines())

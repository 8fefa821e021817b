from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edge_inference.core.audio import AudioChunk, SpeechSegment
from edge_inference.core.settings import build
from edge_inference.errors import ConfigError
from edge_inference.speech.recognition.activity import ActivityDetector, ActivitySettings
from speech_doubles import Probabilities

WINDOW_NS = 32_000_000
QUIET = ActivitySettings(partial_period_ms=0.0)


def chunk(number: int, sequence: int | None = None) -> AudioChunk:
    """Return a chunk of one window; each of its samples is the window number / 1000."""
    samples = np.full(512, number / 1000, np.float32)
    place = number if sequence is None else sequence
    return AudioChunk(samples, 16_000, number * WINDOW_NS, place, "microphone")


def segments(
    probabilities: Sequence[float], settings: ActivitySettings = QUIET, more: int = 20
) -> list[SpeechSegment]:
    detector = ActivityDetector(Probabilities(probabilities), settings)
    found = []
    for number in range(len(probabilities) + more):
        found += detector.feed(chunk(number))
    return found


def windows_of(segment: SpeechSegment) -> list[int]:
    return [round(float(value) * 1000) for value in segment.samples[::512]]


def test_end_probability_above_start_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"end_probability: 0\.6 is above start_probability 0\.5"):
        build(ActivitySettings, {"end_probability": 0.6})


@pytest.mark.parametrize(
    "probabilities", [[], [0.0] * 50, [0.49] * 50, [0.0, 0.9, 0.0], [0.9, 0.0] + [0.0] * 9 + [0.9]]
)
def test_silence_and_single_clicks_give_no_segment(probabilities: list[float]) -> None:
    assert segments(probabilities) == []


def test_segment_has_pre_roll_and_stamp() -> None:
    (segment,) = segments([0.0] * 20 + [0.9] * 10)
    # 9 windows of pre-roll (300 ms hold 9), 10 of speech, 6 of hangover (200 ms are about 6).
    assert windows_of(segment) == list(range(11, 36))
    assert segment.start_ns == 11 * WINDOW_NS
    assert segment.stamp_ns == 30 * WINDOW_NS
    assert (segment.is_final, segment.frame_id) == (True, "microphone")
    assert not segment.samples.flags.writeable


def test_pre_roll_is_short_at_the_start_of_the_stream() -> None:
    (segment,) = segments([0.0, 0.9, 0.9, 0.9])
    assert segment.start_ns == 0


@pytest.mark.parametrize(("pause", "count"), [(5, 1), (6, 2)])
def test_silence_of_the_hangover_ends_speech(pause: int, count: int) -> None:
    found = segments([0.9] * 5 + [0.0] * pause + [0.9] * 5)
    assert len(found) == count
    assert found[-1].stamp_ns == (10 + pause) * WINDOW_NS


def test_the_hangover_is_a_setting() -> None:
    slow = ActivitySettings(hangover_ms=960.0, partial_period_ms=0.0)
    assert len(segments([0.9] * 5 + [0.0] * 29 + [0.9] * 5, slow, more=40)) == 1


def test_probability_between_the_thresholds_continues_but_does_not_start_speech() -> None:
    assert segments([0.4] * 30) == []
    (segment,) = segments([0.9] + [0.4] * 30)
    assert segment.stamp_ns == 31 * WINDOW_NS


def test_long_speech_is_split_without_loss() -> None:
    settings = ActivitySettings(max_speech_s=1.0, partial_period_ms=0.0)
    found = segments([0.9] * 100, settings)
    assert all(len(segment.samples) <= 16_000 + 512 for segment in found)
    heard = [number for segment in found for number in windows_of(segment)]
    assert heard[:100] == list(range(100))


def test_partial_segments_during_speech() -> None:
    found = segments([0.9] * 32, ActivitySettings(partial_period_ms=320.0))
    assert [segment.is_final for segment in found] == [False, False, False, False, True]
    # The last two are the partial segment at the pause and the final segment.
    assert [segment.stamp_ns // WINDOW_NS for segment in found] == [11, 21, 31, 32, 32]
    assert [len(windows_of(segment)) for segment in found[-2:]] == [34, 38]
    assert {segment.start_ns for segment in found} == {0}


def test_pause_gives_one_partial_segment() -> None:
    found = segments([0.9] * 8, ActivitySettings(partial_period_ms=32.0, hangover_ms=320.0))
    # Seven windows of speech, longer than noise, then the pause and the end.
    assert [segment.is_final for segment in found] == [False] * 8 + [True]


@pytest.mark.parametrize(("silence", "is_final"), [(0, False), (2, False), (3, True)])
def test_speech_truncated_by_a_gap_is_not_final(silence: int, is_final: bool) -> None:
    """Else "go to the" of "go to the door" would be final; speech that ended before a gap is."""
    detector = ActivityDetector(Probabilities([0.9] * 10), QUIET)
    for number in range(10 + silence):
        assert detector.feed(chunk(number)) == []
    (segment,) = detector.feed(chunk(100))
    assert (segment.is_final, detector.truncated_segments) == (is_final, int(not is_final))
    assert windows_of(segment) == list(range(10 + silence))


def test_lost_chunk_does_not_truncate_speech() -> None:
    detector = ActivityDetector(Probabilities([0.9] * 10 + [0.0] * 3 + [0.9] * 7), QUIET)
    found = []
    for number in [*range(10), *range(13, 40)]:
        found += detector.feed(chunk(number))
    (segment,) = found
    assert segment.is_final
    assert windows_of(segment)[:15] == [*range(10), 0, 0, 0, 13, 14]


def test_gap_after_silence_ends_speech() -> None:
    model = Probabilities([0.9] * 30)
    detector = ActivityDetector(model, QUIET)
    for number in range(10):
        assert detector.feed(chunk(number)) == []
    (segment,) = detector.feed(chunk(100))
    assert windows_of(segment) == list(range(10))
    assert segment.stamp_ns == 10 * WINDOW_NS
    assert model.states == [*range(10), 0]  # the model is reset
    assert not model.windows[-1][:64].any()
    assert detector.counts.gaps == 1
    assert detector.is_speech


def test_gap_in_silence_gives_no_segment() -> None:
    detector = ActivityDetector(Probabilities([0.0] * 9), ActivitySettings(min_speech_ms=0.0))
    detector.feed(chunk(0))
    assert detector.feed(chunk(50)) == []
    assert detector.flush() == []


def test_model_gets_the_end_of_the_previous_window() -> None:
    model = Probabilities([])
    detector = ActivityDetector(model)
    detector.feed(chunk(1))
    detector.feed(chunk(2))
    assert model.windows[1][:64] == pytest.approx(np.full(64, 0.001))
    assert model.windows[1][64:] == pytest.approx(np.full(512, 0.002))


def test_speech_ends_when_audio_stops() -> None:
    detector = ActivityDetector(Probabilities([0.9] * 10), QUIET)
    for number in range(5):
        assert detector.feed(chunk(number)) == []
    assert detector.end_on_timeout(0.99) == []
    (segment,) = detector.end_on_timeout(1.0)
    assert windows_of(segment) == list(range(5))
    assert (segment.stamp_ns, segment.is_final, segment.frame_id) == (
        5 * WINDOW_NS,
        True,
        "microphone",
    )
    assert detector.end_on_timeout(2.0) == []
    # Late audio continues the utterance.
    for number in range(5, 30):
        found = detector.feed(chunk(number))
        if found:
            assert windows_of(found[0])[0] <= 5
            return
    pytest.fail("nothing was heard")


def test_flush_ends_speech() -> None:
    detector = ActivityDetector(Probabilities([0.9] * 9), QUIET)
    for number in range(5):
        detector.feed(chunk(number))
    (segment,) = detector.flush("microphone")
    assert segment.is_final and windows_of(segment) == list(range(5))
    assert (detector.is_speech, detector.probability) == (False, None)
    assert detector.flush() == []


def test_reset_discards_the_current_utterance() -> None:
    detector = ActivityDetector(Probabilities([0.9] * 9 + [0.0] * 20), QUIET)
    for number in range(9):
        detector.feed(chunk(number))
    detector.reset()
    assert [detector.feed(chunk(number, 0)) for number in range(20)] == [[]] * 20

"""Speech that overlaps with the robot's own speech is marked as mixed."""

from __future__ import annotations

import pytest

from edge_inference.speech.recognition.robot_speech import RobotSpeech


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def talk(clock: Clock) -> RobotSpeech:
    return RobotSpeech(clock)


def tell(talk: RobotSpeech, speaks: bool) -> None:
    talk.update(speaks, max_talk_s=15.0, echo_tail_s=0.3)


def test_speech_is_not_mixed_without_a_message(talk: RobotSpeech) -> None:
    assert not talk.is_mixed(is_speech_active=True)
    assert talk.duration_s == 0.0


@pytest.mark.parametrize(("later_s", "is_mixed"), [(0.0, True), (0.2, True), (0.4, False)])
def test_echo_tail_keeps_speech_mixed(
    talk: RobotSpeech, clock: Clock, later_s: float, is_mixed: bool
) -> None:
    tell(talk, True)
    tell(talk, False)
    clock.now_s += later_s
    assert talk.is_mixed(is_speech_active=False) is is_mixed


def test_utterance_that_began_during_robot_speech_stays_mixed(
    talk: RobotSpeech, clock: Clock
) -> None:
    tell(talk, True)
    assert talk.is_mixed(is_speech_active=False)
    tell(talk, False)
    clock.now_s += 5.0
    assert talk.is_mixed(is_speech_active=True)
    assert not talk.is_mixed(is_speech_active=False)
    assert not talk.is_mixed(is_speech_active=True)


def test_robot_speech_times_out(talk: RobotSpeech, clock: Clock) -> None:
    tell(talk, True)
    clock.now_s += 14.9
    assert talk.is_mixed(is_speech_active=False)
    clock.now_s += 0.2
    assert not talk.is_mixed(is_speech_active=False)


def test_duration_of_robot_speech(talk: RobotSpeech, clock: Clock) -> None:
    for _ in range(10):
        tell(talk, True)
        clock.now_s += 10.0
    assert talk.duration_s == 100.0
    tell(talk, False)
    clock.now_s += 0.4
    assert talk.duration_s == 0.0
    tell(talk, True)
    clock.now_s += 1.0
    assert talk.duration_s == 1.0

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
def robot_speech(clock: Clock) -> RobotSpeech:
    return RobotSpeech(clock)


def update(robot_speech: RobotSpeech, speaks: bool) -> None:
    robot_speech.update(speaks, max_talk_s=15.0, echo_tail_s=0.3)


def test_speech_is_not_mixed_without_a_message(robot_speech: RobotSpeech) -> None:
    assert not robot_speech.is_mixed(is_speech_active=True)
    assert robot_speech.duration_s == 0.0


@pytest.mark.parametrize(("later_s", "is_mixed"), [(0.0, True), (0.2, True), (0.4, False)])
def test_echo_tail_keeps_speech_mixed(
    robot_speech: RobotSpeech, clock: Clock, later_s: float, is_mixed: bool
) -> None:
    update(robot_speech, True)
    update(robot_speech, False)
    clock.now_s += later_s
    assert robot_speech.is_mixed(is_speech_active=False) is is_mixed


def test_utterance_that_began_during_robot_speech_stays_mixed(
    robot_speech: RobotSpeech, clock: Clock
) -> None:
    update(robot_speech, True)
    assert robot_speech.is_mixed(is_speech_active=False)
    update(robot_speech, False)
    clock.now_s += 5.0
    assert robot_speech.is_mixed(is_speech_active=True)
    assert not robot_speech.is_mixed(is_speech_active=False)
    assert not robot_speech.is_mixed(is_speech_active=True)


def test_robot_speech_times_out(robot_speech: RobotSpeech, clock: Clock) -> None:
    update(robot_speech, True)
    clock.now_s += 14.9
    assert robot_speech.is_mixed(is_speech_active=False)
    clock.now_s += 0.2
    assert not robot_speech.is_mixed(is_speech_active=False)


def test_duration_of_robot_speech(robot_speech: RobotSpeech, clock: Clock) -> None:
    for _ in range(10):
        update(robot_speech, True)
        clock.now_s += 10.0
    assert robot_speech.duration_s == 100.0
    update(robot_speech, False)
    clock.now_s += 0.4
    assert robot_speech.duration_s == 0.0
    update(robot_speech, True)
    clock.now_s += 1.0
    assert robot_speech.duration_s == 1.0

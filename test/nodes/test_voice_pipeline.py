"""From a person's recording to velocities: the whole pipeline in one process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from rclpy.parameter import Parameter

from relaxed_limits import write_relaxed_limits
from rig import Collected, Outside, Rig, wait_for
from voice_rig import (
    PERSON,
    RATE,
    WORDS,
    Speaker,
    load_pipeline_in,
    models_or_skip,
    samples_of,
)


@pytest.fixture
def pipeline(rig: Rig, tmp_path: Path):
    """Load the pipeline with arguments; where the sound comes from is the test's."""
    models_or_skip()
    given = {"source": "", "limits": write_relaxed_limits(tmp_path)}
    return lambda **arguments: load_pipeline_in(rig, "voice", {**given, **arguments})


def stages(timings: Collected) -> set[str]:
    return {timing.stage for timing in timings if not timing.dropped}


@pytest.mark.parametrize("mode", ["command", "free"])
def test_a_person_moves_the_robot(rig: Rig, outside: Outside, pipeline, mode: str) -> None:
    transcripts, plans = rig.tap("/ai/transcript"), rig.tap("/ai/action_plan")
    timings, said = rig.tap("/ai/stage_timing"), rig.tap("/ai/say")
    received = outside.listen("/cmd_vel", "geometry_msgs/Twist")
    loaded = pipeline(mode=mode)
    rig.wait_for_subscribers(loaded["command"], "/cmd_vel")
    Speaker(rig).say(samples_of(PERSON))
    (plan,) = plans.wait()
    assert [(step.action, step.distance_m) for step in plan.steps] == [("move", 10.0)]
    wait_for(lambda: received and received[-1]["linear"]["x"] == pytest.approx(0.25), "0.25 m/s")
    assert all(message["angular"]["z"] == 0.0 for message in received)
    final = transcripts[-1]
    assert final.is_final and final.text.lower().strip(".") == WORDS
    # One stamp, that of the last sample with speech, all the way through.
    (command,) = [timing for timing in timings if timing.stage == "command"]
    assert command.stamp_ns == plan.stamp_ns == final.stamp_ns
    assert command.age_ms is not None and command.age_ms > 190.0  # the hangover at least
    assert stages(timings) == {
        "voice_activity",
        "speech_recognition",
        "intent_parser",
        "planner",
        "command",
    }
    assert said == ["going forward 10 meters"]


def report_speaking(rig: Rig, voice_activity) -> None:
    """Report that the robot speaks, for long enough on a busy machine."""
    rig.call(lambda: voice_activity.set_parameters([Parameter("max_talk_s", value=600.0)]))
    rig.call(lambda: voice_activity._on_speaking(True, True))


def test_the_robot_does_not_obey_itself(rig: Rig, pipeline) -> None:
    transcripts, velocities = rig.tap("/ai/transcript"), rig.tap("/cmd_vel")
    mixed = rig.tap("/ai/mixed_speech")
    nodes = pipeline()
    voice_activity, recognizer = nodes["voice_activity"], nodes["speech_recognition"]
    report_speaking(rig, voice_activity)
    Speaker(rig).say(samples_of(PERSON))
    wait_for(lambda: mixed and mixed[-1].is_final, "the end of it")
    wait_for(lambda: sum(recognizer.health.drop_counts().values()) == len(mixed), "all of it left")
    assert (transcripts, velocities) == ([], [])


@pytest.mark.parametrize("mode", ["command", "free"])
def test_a_stop_counts_while_the_robot_speaks(rig: Rig, pipeline, mode: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    stop, rate = soundfile.read(PERSON.with_name("synthetic_5_stop.flac"), dtype="float32")
    assert rate == RATE
    transcripts, intents = rig.tap("/ai/transcript"), rig.tap("/ai/intent")
    voice_activity = pipeline(mode=mode)["voice_activity"]
    report_speaking(rig, voice_activity)
    Speaker(rig).say(np.concatenate((samples_of(PERSON), stop)))
    wait_for(lambda: any(each.is_final for each in transcripts), "the word stop")
    assert {each.text for each in transcripts} == {"stop"}
    (intent,) = intents.wait()
    assert (intent.names, intent.text) == ((), "")  # no node answers it


def test_speech_without_a_command_moves_nothing(rig: Rig, pipeline) -> None:
    """Read from a play; the recording comes with the recognizer's package."""
    package = importlib.util.find_spec("moonshine_voice")
    recording = Path(next(iter(package.submodule_search_locations)), "assets", "beckett.wav")
    transcripts, velocities = rig.tap("/ai/transcript"), rig.tap("/cmd_vel")
    pipeline()
    three_sentences = samples_of(recording)[: int(4.4 * RATE)]
    Speaker(rig).say(three_sentences)
    final = [each for each in transcripts if each.is_final]
    # A text that begins with a no is published, because it may stop a motion; it is no command.
    assert [each.text for each in final] == ["", "", "No matter."]
    assert all(each.problem for each in final)
    assert not any(velocity.linear_mps or velocity.angular_radps for velocity in velocities)

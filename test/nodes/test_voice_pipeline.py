"""From a person's recording to velocities: the whole pipeline in one process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edge_inference.composition.pipeline import load_pipeline
from edge_inference.errors import ModelError
from edge_inference.nodes.speech_models import find_speech
from rig import Collected, Outside, Rig, wait_for

# A person who says "go forward ten meters".
PERSON = Path(__file__).parents[2] / "models/moonshine_tiny/golden" / "go_forward_ten_meters.wav"


@pytest.fixture
def pipeline(rig: Rig):
    """Load the pipeline's components in their order, with arguments."""
    for name, task in (("silero_vad", "activity"), ("moonshine_tiny", "recognition")):
        try:
            find_speech(name, "", task).verify_files()
        except ModelError as error:
            pytest.skip(str(error))

    def load(**arguments: str) -> dict:
        loaded = {}
        for each in load_pipeline("voice").components(arguments):
            component = rig.call(
                lambda each=each: rig.container.load(each.plugin, each.node_arguments(), True)
            )
            assert not component.failure, component.node.health.status(0).message
            loaded[each.name] = component.node
        return loaded

    return load


def stages(timings: Collected) -> set[str]:
    return {timing.stage for timing in timings if not timing.dropped}


@pytest.mark.parametrize("mode", ["command", "free"])
def test_a_person_moves_the_robot(rig: Rig, outside: Outside, pipeline, mode: str) -> None:
    transcripts, plans = rig.tap("/ai/transcript"), rig.tap("/ai/action_plan")
    timings, said = rig.tap("/ai/stage_timing"), rig.tap("/ai/say")
    heard = outside.listen("/cmd_vel", "geometry_msgs/Twist")
    loaded = pipeline(source="", mode=mode)
    rig.is_heard(loaded["command"], "/cmd_vel")
    rig.load("AudioSource", source=str(PERSON), pause_s=1.0)
    (plan,) = plans.wait()
    assert [(step.action, step.distance_m) for step in plan.steps] == [("move", 10.0)]
    wait_for(lambda: heard and heard[-1]["linear"]["x"] == pytest.approx(0.25), "0.25 m/s")
    assert all(message["angular"]["z"] == 0.0 for message in heard)
    final = transcripts[-1]
    assert final.is_final and final.text.lower().strip(".") == "go forward ten meters"
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


def test_the_robot_does_not_obey_itself(rig: Rig, pipeline) -> None:
    transcripts, velocities = rig.tap("/ai/transcript"), rig.tap("/cmd_vel")
    loaded = pipeline(source="")
    ear = loaded["voice_activity"]
    rig.call(lambda: ear._on_speaking(True, True))
    source = rig.load("AudioSource", source=str(PERSON), pause_s=1.0)
    assert source.finished.wait(20)
    wait_for(lambda: ear.health.counts().get("robot_speaking", 0) > 100, "deafness")
    assert (transcripts, velocities) == ([], [])


def test_what_is_no_command_moves_nothing(rig: Rig, pipeline) -> None:
    """Read from a play; the recording comes with the recogniser's package."""
    package = importlib.util.find_spec("moonshine_voice")
    recording = Path(next(iter(package.submodule_search_locations)), "assets", "beckett.wav")
    transcripts, velocities = rig.tap("/ai/transcript"), rig.tap("/cmd_vel")
    pipeline(source="")
    source = rig.load("AudioSource", source=str(recording), pause_s=1.0)
    assert source.finished.wait(60)
    wait_for(lambda: any(each.is_final for each in transcripts), "the end of a sentence")
    assert all(each.text == "" for each in transcripts if each.is_final)
    assert not any(velocity.linear_mps or velocity.angular_radps for velocity in velocities)

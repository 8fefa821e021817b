"""The parameters of voice activity detection."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.nodes.stage import StageSettings
from edge_inference.speech.recognition.activity import ActivitySettings


@dataclass(frozen=True)
class VoiceActivitySettings(ActivitySettings, StageSettings):
    """Parameters of voice activity detection."""

    queue_depth: int = setting(
        100, "chunks that wait for this stage at the most", minimum=1, maximum=100
    )
    model: str = setting(
        "silero_vad",
        "model folder of the detector: a name on the model path, or a path to it",
        read_only=True,
    )
    model_path: str = setting(
        "",
        "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated",
        read_only=True,
    )
    listening: str = setting(
        "always",
        "on_demand hears only while somebody asks for it by the action listen",
        choices=("always", "on_demand"),
    )
    listen_while_speaking: bool = setting(
        False,
        "true takes commands also while /robot_speaking says that the robot itself speaks; else "
        "only a stop or a no counts then",
    )
    echo_tail_s: float = setting(
        0.3,
        "the robot counts as speaking for so long after it has spoken, while the room still sounds",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )
    max_talk_s: float = setting(
        15.0,
        "a robot that has not said for so long that it still speaks is taken to have ended",
        unit="s",
        minimum=1.0,
        maximum=600.0,
    )

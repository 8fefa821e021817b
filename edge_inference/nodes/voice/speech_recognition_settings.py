"""Parameters of the node that recognises speech."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.settings import setting
from edge_inference.nodes.stage import StageSettings
from edge_inference.nodes.throttle_client import ThrottleClientSettings
from edge_inference.speech.language.stop_phrases import StopSettings
from edge_inference.speech.recognition.command_mode import CommandModeSettings
from edge_inference.speech.recognition.recogniser import RecogniserSettings
from edge_inference.speech.recognition.transcription import MODES


@dataclass(frozen=True)
class SpeechRecognitionSettings(
    CommandModeSettings, StopSettings, RecogniserSettings, ThrottleClientSettings, StageSettings
):
    """Parameters of speech recognition."""

    safety_critical: bool = setting(
        True, "false: the platform manager may ask for fewer partial results; final ones all come"
    )
    priority: int = setting(
        80, "among several nodes the higher one is reduced last", minimum=0, maximum=100
    )

    queue_depth: int = setting(
        10, "segments that wait for this stage at the most", minimum=1, maximum=100
    )
    model: str = setting(
        "moonshine_tiny",
        "model folder of the recogniser: a name on the model path, or a path to it",
        read_only=True,
    )
    model_path: str = setting(
        "",
        "folders to look in before $EDGE_INFERENCE_MODELS and the shipped ones, colon-separated",
        read_only=True,
    )
    mode: str = setting(
        "command",
        "command hears only phrases of the grammar; free writes down whatever is said; both writes "
        "down what is none of the phrases",
        choices=MODES,
    )
    answer_s: float = setting(
        12.0,
        "after a question, time for which command mode hears yes and no",
        unit="s",
        minimum=1.0,
        maximum=600.0,
    )
    grammar: str = setting("", "grammar file of command mode; empty for the shipped one")

"""The components, one file each, imported when one is asked for."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "AudioCommonInput": "audio_common_input",
    "AudioCommonOutput": "audio_common_output",
    "AudioSource": "audio_source",
    "Command": "command",
    "Decode": "decode",
    "HriIntents": "hri_intents",
    "Inference": "inference",
    "IntentParser": "intent_parser",
    "LanguageModel": "language_model",
    "Latency": "latency",
    "Listener": "listener",
    "LiveSpeech": "live_speech",
    "MediaSource": "media_source",
    "Overlay": "overlay",
    "PlatformManager": "platform_manager",
    "Planner": "planner",
    "Preprocess": "preprocess",
    "SceneReporter": "scene_reporter",
    "SpeechRecognition": "speech_recognition",
    "VoiceActivity": "voice_activity",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

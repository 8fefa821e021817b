"""The components, one file each; accessing a component imports its file."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = {
    "AudioCommonInput": "voice.audio_common_input",
    "AudioCommonOutput": "voice.audio_common_output",
    "AudioSource": "voice.audio_source",
    "Command": "voice.command",
    "Decode": "perception.decode",
    "HriIntents": "voice.hri_intents",
    "Inference": "perception.inference",
    "IntentParser": "voice.intent_parser",
    "LanguageModel": "voice.language_model",
    "Latency": "observe.latency",
    "Listener": "voice.listener",
    "LiveSpeech": "voice.live_speech",
    "MediaSource": "perception.media_source",
    "Overlay": "perception.overlay",
    "PlatformManager": "platform.platform_manager",
    "Planner": "voice.planner",
    "Preprocess": "perception.preprocess",
    "ProcessMonitor": "observe.process_monitor",
    "SceneReporter": "voice.scene_reporter",
    "SpeechRecognition": "voice.speech_recognition",
    "VoiceActivity": "voice.voice_activity",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

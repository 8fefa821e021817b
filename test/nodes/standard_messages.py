"""Doubles for messages of packages that may not be installed, with their fields and constants."""

from __future__ import annotations

import importlib
import types
from typing import Any

HEADER = {"header": "std_msgs/Header"}
ROS_DRIVERS = {
    "AudioData": {"data": "sequence<uint8>"},
    "AudioDataStamped": {**HEADER, "audio": "audio_common_msgs/AudioData"},
    "AudioInfo": {
        "channels": "uint8",
        "sample_rate": "uint32",
        "sample_format": "string",
        "bitrate": "uint32",
        "coding_format": "string",
    },
}
MGONZS13 = {
    "AudioData": {
        "float32_data": "sequence<float>",
        "int32_data": "sequence<int32>",
        "int16_data": "sequence<int16>",
        "int8_data": "sequence<int8>",
        "uint8_data": "sequence<uint8>",
    },
    "AudioInfo": {"format": "int32", "channels": "int32", "rate": "int32", "chunk": "int32"},
    "Audio": {
        "audio_data": "audio_common_msgs/AudioData",
        "info": "audio_common_msgs/AudioInfo",
    },
    "AudioStamped": {**HEADER, "audio": "audio_common_msgs/Audio"},
}
_SPEECH = {**HEADER, "incremental": "string", "final": "string", "confidence": "double"}
#: Old and new versions of hri_msgs have the language in different fields.
LIVE_SPEECH = {**_SPEECH, "language": "string"}
NEWER_LIVE_SPEECH = {**_SPEECH, "locale": "string"}
HRI_INTENT = {
    "intent": "string",
    "data": "string",
    "source": "string",
    "modality": "string",
    "priority": "uint8",
    "confidence": "float",
}
HRI_INTENT_CONSTANTS = {
    "MOVE_TO": "__intent_move_to__",
    "GRAB_OBJECT": "__intent_grab_object__",
    "PLACE_OBJECT": "__intent_place_object__",
    "STOP_ACTIVITY": "__intent_stop_activity__",
    "UNKNOWN_AGENT": "__unknown_agent__",
    "MODALITY_SPEECH": "__modality_speech__",
}


def make_message_double(
    name: str, fields: dict[str, str], constants: dict[str, str] | None = None
) -> Any:
    """Return a class that accepts only these fields, as a generated message does."""

    def init(self: Any, **values: Any) -> None:
        assert values.keys() <= fields.keys(), f"{name}: no fields {values.keys() - fields.keys()}"
        for field, kind in fields.items():
            setattr(self, field, values.get(field, "" if kind == "string" else 0))

    own = {"__init__": init, "get_fields_and_field_types": classmethod(lambda cls: dict(fields))}
    return type(name, (), {**own, **(constants or {})})


def make_package_double(definitions: dict[str, dict[str, str]]) -> Any:
    """Return a double for the ``msg`` module of a package."""
    classes = {name: make_message_double(name, fields) for name, fields in definitions.items()}
    return types.SimpleNamespace(**classes)


def find_installed_messages(package_name: str) -> Any:
    """Return the ``msg`` module of an installed package, or None."""
    try:
        return importlib.import_module(f"{package_name}.msg")
    except ImportError:
        return None

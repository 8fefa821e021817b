"""Messages of packages that may not be installed: fields and constants as those define them."""

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
#: hri_msgs has the language in one field, its later versions in another.
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


def fallback(name: str, fields: dict[str, str], constants: dict[str, str] | None = None) -> Any:
    """Return a class with these fields that takes no others, as generated messages do."""

    def init(self: Any, **given: Any) -> None:
        assert given.keys() <= fields.keys(), f"{name}: no fields {given.keys() - fields.keys()}"
        for field, kind in fields.items():
            setattr(self, field, given.get(field, "" if kind == "string" else 0))

    own = {"__init__": init, "get_fields_and_field_types": classmethod(lambda cls: dict(fields))}
    return type(name, (), {**own, **(constants or {})})


def package(definitions: dict[str, dict[str, str]]) -> Any:
    """Return a double for a package's ``msg``."""
    named = {name: fallback(name, fields) for name, fields in definitions.items()}
    return types.SimpleNamespace(**named)


def installed(package_name: str) -> Any:
    """Return the real ``msg`` of a package, or None."""
    try:
        return importlib.import_module(f"{package_name}.msg")
    except ImportError:
        return None

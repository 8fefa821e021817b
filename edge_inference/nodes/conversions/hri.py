"""Adapters for speech and intents of ROS4HRI: hri_msgs and hri_actions_msgs."""

from __future__ import annotations

import json
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.core.bounded_file import parse_json
from edge_inference.core.voice import STOP, Intent, IntentArray, IntentSlot, Transcript
from edge_inference.errors import ConfigError, InputError
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import SHARE, SLOT_VALUE, to_number
from edge_inference.speech.actions.action import StandardIntent
from edge_inference.speech.actions.table import ACTIONS, find_action

_OTHER = "other_data"
_USUAL_PRIORITY = 128
_STOP_PRIORITY = 255


def live_speech_adapter() -> LiveSpeechAdapter:
    """Return the adapter for transcripts; ConfigError if hri_msgs is not installed."""
    try:
        from hri_msgs.msg import LiveSpeech
    except ImportError:
        raise ConfigError(
            "hri_msgs is not installed; install it, or leave live_speech_topic empty"
        ) from None
    return LiveSpeechAdapter(LiveSpeech)


def hri_intent_adapter() -> HriIntentAdapter:
    """Return the adapter for intents; ConfigError if hri_actions_msgs is not installed."""
    try:
        from hri_actions_msgs.msg import Intent as HriIntent
    except ImportError:
        raise ConfigError(
            "hri_actions_msgs is not installed; install it, or leave hri_intents_topic empty"
        ) from None
    return HriIntentAdapter(HriIntent)


class LiveSpeechAdapter(Adapter[Transcript]):
    """A transcript as ``hri_msgs/LiveSpeech``.

    Older versions have the field ``language`` (en-GB), newer ones ``locale`` (en_GB).
    """

    def __init__(self, message_type: Any) -> None:
        self.message_type = message_type
        self._has_locale = "locale" in message_type.get_fields_and_field_types()

    def to_message(self, item: Transcript) -> Any:
        """Build the message."""
        message = self.message_type(header=to_header(item.stamp_ns, item.frame_id))
        if item.is_final:
            message.final = item.text
            message.confidence = float(item.confidence)
        else:
            message.incremental = item.text
        if self._has_locale:
            message.locale = item.locale.replace("-", "_")
        else:
            message.language = item.locale.replace("_", "-")
        return message

    def from_message(self, message: Any) -> Transcript:
        """Build the object; raises InputError for an invalid confidence."""
        confidence = to_number(message.confidence, SHARE, "LiveSpeech: confidence")
        locale = message.locale if self._has_locale else message.language
        return Transcript(
            text=message.final or message.incremental,
            confidence=confidence,
            mode="free",
            stamp_ns=stamp_ns(message.header),
            is_final=bool(message.final),
            locale=locale.replace("_", "-"),
            frame_id=message.header.frame_id,
        )


class HriIntentAdapter(Adapter[IntentArray]):
    """One intent as ``hri_actions_msgs/Intent``; several are several messages.

    Intents without a standard name keep their own. Slots without a role are in ``other_data``,
    numbers as ``{"value": 2.0, "unit": "m"}``. The message has no stamp and no text.
    """

    def __init__(self, message_type: Any) -> None:
        self.message_type = message_type

    def to_message(self, item: IntentArray) -> Any:
        """Build the message; raises InputError unless there is one intent, with a known name."""
        if len(item.intents) != 1:
            raise InputError(f"IntentArray: expected one intent, got {len(item.intents)}")
        (intent,) = item.intents
        action = find_action(intent.name)
        standard = (action and action.standard_intent) or StandardIntent("")
        constant, roles = standard.constant, standard.roles
        name = getattr(self.message_type, constant, None) if constant else intent.name
        if name is None:
            raise InputError(f"action {intent.name}: hri_actions_msgs/Intent has no {constant}")
        data: dict[str, Any] = {}
        for slot in intent.slots.values():
            target = data if slot.name in roles else data.setdefault(_OTHER, {})
            target[roles.get(slot.name, slot.name)] = (
                slot.value
                if isinstance(slot.value, str)
                else {"value": slot.value, "unit": slot.unit}
            )
        return self.message_type(
            intent=name,
            data=json.dumps(data),
            source=self.message_type.UNKNOWN_AGENT,
            modality=self.message_type.MODALITY_SPEECH,
            priority=_STOP_PRIORITY if intent.name == STOP else _USUAL_PRIORITY,
            confidence=float(item.confidence),
        )

    def from_message(self, message: Any) -> IntentArray:
        """Build the object; raises InputError for data that is not a JSON object."""
        name, roles = message.intent, dict[str, str]()
        for action in ACTIONS.rows().values():
            standard = action.standard_intent
            if standard and message.intent == getattr(self.message_type, standard.constant, None):
                name, roles = action.name, {role: slot for slot, role in standard.roles.items()}
        data = _json_object(message.data)
        others = data.pop(_OTHER, {})
        if not isinstance(others, dict):
            raise InputError(f"Intent: data: {_OTHER}: expected a JSON object, got {others!r}")
        values = {**{roles.get(role, role): value for role, value in data.items()}, **others}
        return IntentArray(
            intents=(Intent(name, {key: _slot(key, value) for key, value in values.items()}),),
            confidence=to_number(message.confidence, SHARE, "Intent: confidence"),
            text="",
            source="grammar",
            stamp_ns=0,
        )


def _json_object(text: str) -> dict[str, Any]:
    try:
        data = parse_json(text or "{}")
    except ValueError as error:
        raise InputError(
            f"Intent: data: expected a JSON object, got {text!r:.200}: {error}"
        ) from None
    if not isinstance(data, dict):
        raise InputError(f"Intent: data: expected a JSON object, got {text!r:.200}")
    return data


def _slot(name: str, value: Any) -> IntentSlot:
    if isinstance(value, dict) and isinstance(value.get("value"), (int, float)):
        number = to_number(value["value"], SLOT_VALUE, f"Intent: data: {name}")
        return IntentSlot(name, number, str(value.get("unit", "")))
    if isinstance(value, str):
        return IntentSlot(name, value)
    raise InputError(f"Intent: data: {name}: expected a text or a value with a unit, got {value!r}")

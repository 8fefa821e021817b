"""The messages that a page sends, checked before anything is done with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from edge_inference.core.bounded_file import parse_json
from edge_inference.core.text_line import one_line
from edge_inference.errors import InputError
from edge_inference.observe.monitor.parameter_row import ParameterValue

#: The most history that is kept, and may be asked for.
MAX_HISTORY_S = 3600.0
_MAX_TEXT = 4096
_MAX_LIST = 1000
_MAX_ID = 2**53


@dataclass(frozen=True)
class HelloMessage:
    """The first message; ``token`` is empty where the page has none."""

    token: str


@dataclass(frozen=True)
class HistoryRequest:
    """Asks for the history of the last ``since_s`` seconds."""

    since_s: float


@dataclass(frozen=True)
class ImageRequest:
    """Switches the images on or off."""

    on: bool


@dataclass(frozen=True)
class ParametersRequest:
    """Asks for the parameters of a node, by its full name."""

    node: str


@dataclass(frozen=True)
class SetParameterRequest:
    """Asks to set one parameter; ``id`` returns in the answer."""

    node: str
    name: str
    value: ParameterValue
    id: int


class SettingError(InputError):
    """A request to set a parameter is invalid; ``id`` is that of the request."""

    def __init__(self, text: str, id: int) -> None:
        super().__init__(text)
        self.id = id


PageMessage: TypeAlias = (
    "HelloMessage | HistoryRequest | ImageRequest | ParametersRequest | SetParameterRequest"
)


def read_page_message(text: str) -> PageMessage:
    """Return the message. Raises InputError with a sentence, SettingError where it has an id."""
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(f"expected a message in JSON: {one_line(str(error))}") from None
    if not isinstance(content, dict):
        raise InputError(f"expected a JSON object, got {_show(content)}")
    kind = content.get("type")
    if kind == "hello":
        return HelloMessage(_text(content, "token", ""))
    if kind == "history":
        return HistoryRequest(_seconds(content, "since_s"))
    if kind == "image":
        return ImageRequest(_flag(content, "on"))
    if kind == "parameters":
        return ParametersRequest(_text(content, "node"))
    if kind == "set_parameter":
        return _read_setting(content, _id(content))
    raise InputError(
        f"type: expected hello, history, image, parameters or set_parameter, got {_show(kind)}"
    )


def _read_setting(content: dict[str, Any], id: int) -> SetParameterRequest:
    try:
        return SetParameterRequest(
            _text(content, "node"), _text(content, "name"), _value(content), id
        )
    except InputError as error:
        raise SettingError(str(error), id) from None


def _text(content: dict[str, Any], key: str, default: str | None = None) -> str:
    value = content.get(key, default)
    if not isinstance(value, str) or len(value) > _MAX_TEXT or not _is_unicode(value):
        raise InputError(f"{key}: expected a text, got {_show(value)}")
    return value


def _flag(content: dict[str, Any], key: str) -> bool:
    value = content.get(key)
    if not isinstance(value, bool):
        raise InputError(f"{key}: expected true or false, got {_show(value)}")
    return value


def _seconds(content: dict[str, Any], key: str) -> float:
    value = content.get(key, MAX_HISTORY_S)
    if type(value) not in (int, float) or not 1 <= value <= MAX_HISTORY_S:
        raise InputError(f"{key}: expected seconds from 1 to {MAX_HISTORY_S:g}, got {_show(value)}")
    return float(value)


def _id(content: dict[str, Any]) -> int:
    value = content.get("id")
    if type(value) is not int or not 0 <= value < _MAX_ID:
        raise InputError(f"id: expected a whole number, got {_show(value)}")
    return value


def _value(content: dict[str, Any]) -> ParameterValue:
    """Return the new value; a list becomes a tuple, and its entries are all of one type."""
    value = content.get("value")
    entries = value if isinstance(value, list) else [value]
    kinds = {type(each) for each in entries}
    is_uniform = len(kinds) <= 1 or kinds == {int, float}
    if len(entries) > _MAX_LIST or not is_uniform or not all(map(_is_scalar, entries)):
        raise InputError(
            "value: expected true, false, a number, a text, or a list of one of these, "
            f"got {_show(value)}"
        )
    return tuple(value) if isinstance(value, list) else value


def _is_scalar(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT and _is_unicode(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be encoded: JSON may have unpaired surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _show(value: object) -> str:
    return one_line(repr(value), 80)

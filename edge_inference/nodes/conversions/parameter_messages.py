"""Converts the changes of parameters that nodes announce, and descriptions of parameters."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import Parameter, ParameterDescriptor, ParameterEvent, ParameterType
from rcl_interfaces.msg import ParameterValue as ParameterValueMessage

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MAX_SENTENCE_BYTES, MessageBounds
from edge_inference.core.settings import shorten
from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError, InputError
from edge_inference.observe.monitor.parameter_row import (
    ParameterChange,
    ParameterRow,
    ParameterValue,
)

#: The field of a value's message and its name for people, by type.
_FIELDS = {
    ParameterType.PARAMETER_BOOL: ("bool_value", "bool"),
    ParameterType.PARAMETER_INTEGER: ("integer_value", "integer"),
    ParameterType.PARAMETER_DOUBLE: ("double_value", "double"),
    ParameterType.PARAMETER_STRING: ("string_value", "string"),
    ParameterType.PARAMETER_BOOL_ARRAY: ("bool_array_value", "bool[]"),
    ParameterType.PARAMETER_INTEGER_ARRAY: ("integer_array_value", "integer[]"),
    ParameterType.PARAMETER_DOUBLE_ARRAY: ("double_array_value", "double[]"),
    ParameterType.PARAMETER_STRING_ARRAY: ("string_array_value", "string[]"),
}
_MAX_INTEGER = 2**63 - 1
_MAX_TEXT, _MAX_ENTRIES = 4096, 1000
#: How the nodes of this package describe a choice.
_CHOICES = "expected one of "


class ParameterEventAdapter(Adapter[tuple[ParameterChange, ...]]):
    """The changed parameters of ``rcl_interfaces/ParameterEvent``; not those of a node's start."""

    message_type = ParameterEvent
    bounds = MessageBounds(
        size=1 << 20,
        texts=dict.fromkeys(("string_value", "string_array_value"), MAX_SENTENCE_BYTES),
    )

    def to_message(self, item: tuple[ParameterChange, ...]) -> ParameterEvent:
        """Refuse: nodes announce their changes themselves."""
        raise InputError("ParameterEvent: expected no object: this package only receives it")

    def from_message(self, message: ParameterEvent) -> tuple[ParameterChange, ...]:
        """Build the object."""
        return tuple(
            ParameterChange(message.node, each.name, _describe(read_value(each.value)))
            for each in message.changed_parameters
        )


def read_value(message: ParameterValueMessage) -> ParameterValue:
    """Return a value; None where it is not set, or of a type that is only shown (bytes)."""
    field, _ = _FIELDS.get(message.type, ("", ""))
    if not field:
        return None
    value = getattr(message, field)
    return tuple(value) if isinstance(value, (list, tuple, array)) else value


def make_row(descriptor: ParameterDescriptor, value: ParameterValueMessage) -> ParameterRow:
    """Return a parameter as its node describes it."""
    _, type_name = _FIELDS.get(descriptor.type, ("", ""))
    ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
    low, high = (ranges[0].from_value, ranges[0].to_value) if ranges else (None, None)
    constraint = descriptor.additional_constraints
    choices: tuple[str, ...] = ()
    if constraint.startswith(_CHOICES):
        choices = tuple(constraint.removeprefix(_CHOICES).split(", ")[:_MAX_ENTRIES])
    return ParameterRow(
        name=one_line(descriptor.name),
        type=type_name,
        value=_finite(read_value(value)),
        minimum=_bound(low),
        maximum=_bound(high),
        choices=choices,
        description=one_line(descriptor.description),
        read_only=descriptor.read_only,
    )


def to_parameter(row: ParameterRow, value: object) -> Parameter:
    """Return the message that sets a parameter; raises ConfigError for another type of value."""
    found = next(
        ((kind, field) for kind, (field, name) in _FIELDS.items() if name == row.type), None
    )
    if found is None:
        raise ConfigError(f"{row.name}: its type cannot be set here; use `ros2 param set`")
    kind, field = found
    name, _, is_list = row.type.partition("[")
    if not is_list:
        converted: Any = _convert(row, name, value)
    elif isinstance(value, (list, tuple)) and len(value) <= _MAX_ENTRIES:
        converted = [_convert(row, name, each) for each in value]
    else:
        raise ConfigError(
            f"{row.name}: expected a list of at most {_MAX_ENTRIES} entries, got {shorten(value)}"
        )
    return Parameter(name=row.name, value=ParameterValueMessage(type=kind, **{field: converted}))


def _convert(row: ParameterRow, name: str, value: object) -> bool | int | float | str:
    if name == "double" and type(value) is int and abs(value) <= _MAX_INTEGER:
        value = float(value)
    if not _ACCEPTS[name](value):
        raise ConfigError(f"{row.name}: expected a value of type {name}, got {shorten(value)}")
    return value  # type: ignore[return-value]


#: Whether a plain value can be sent as one of this type.
_ACCEPTS: dict[str, Callable[[Any], bool]] = {
    "bool": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int and -_MAX_INTEGER <= value <= _MAX_INTEGER,
    "double": lambda value: type(value) is float and math.isfinite(value),
    "string": lambda value: type(value) is str and len(value) <= _MAX_TEXT and "\0" not in value,
}


def _bound(value: float | None) -> float | None:
    """Return a bound; None where it is the end of what a message can hold."""
    if value is None or abs(value) >= _MAX_INTEGER:
        return None
    return value


def _finite(value: ParameterValue) -> ParameterValue:
    """Return a value; None for a number that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _describe(value: ParameterValue) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "unknown"
    return f"{value:g}" if isinstance(value, float) else str(value)

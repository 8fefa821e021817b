"""Settings declared once: type, default, bounds, unit, description.

A settings class is a frozen dataclass whose fields are made with :func:`setting`. This one
declaration defines the ROS parameter descriptors, the checks of YAML files, the error messages
and the tables in the docs::

    @dataclass(frozen=True)
    class DecodeSettings:
        confidence: float = setting(0.4, "lowest score reported", minimum=0.0, maximum=1.0)

A class may define ``check(self) -> str | None`` for rules across fields. It returns the reason
why the values are invalid, or None.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from edge_inference.errors import ConfigError

Settings = TypeVar("Settings")

_SCALARS: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
}
_MAX_TEXT_LENGTH = 4096
_MAX_LIST_LENGTH = 1000
_MAX_SHOWN_LENGTH = 200
#: Maximum number of known names in the error for an unknown one.
_MAX_NAMES = 20
# Shorter names begin like too many others.
_MIN_START = 3


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a setting accepts.

    ``type`` is bool, int, float or str; it is that of each entry if ``is_list``. ``max_length``
    is the maximum number of list entries, or of characters of a single text.
    """

    name: str
    type: type
    is_list: bool
    default: Any
    description: str
    unit: str
    minimum: float | None
    maximum: float | None
    choices: tuple[Any, ...]
    read_only: bool
    max_length: int

    @property
    def required(self) -> bool:
        """Tell whether the setting has no default."""
        return self.default is dataclasses.MISSING

    def expected(self) -> str:
        """Return a description of the accepted values."""
        if self.choices:
            text = "one of " + ", ".join(str(choice) for choice in self.choices)
        else:
            text = _SCALARS[self.type]
            if self.minimum is not None and self.maximum is not None:
                text += f" from {self.minimum:g} to {self.maximum:g}"
            elif self.minimum is not None:
                text += f" of at least {self.minimum:g}"
            elif self.maximum is not None:
                text += f" of at most {self.maximum:g}"
        if self.unit:
            text += f" ({self.unit})"
        return f"a list, each entry {text}" if self.is_list else text

    def missing(self) -> str:
        """Return what an error says of a required setting without a value."""
        meaning = f": {self.description}" if self.description else ""
        return f"missing; expected {self.expected()}{meaning}"

    def convert(self, value: Any) -> Any:
        """Return ``value`` in the declared type. Raises ConfigError for an invalid value."""
        if not self.is_list:
            return self._convert_scalar(value)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._error(value)
        if len(value) > self.max_length:
            raise ConfigError(
                f"{self.name}: expected at most {self.max_length} entries, got {len(value)}"
            )
        return tuple(self._convert_scalar(item) for item in value)

    def _convert_scalar(self, value: Any) -> Any:
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type or (self.choices and value not in self.choices):
            raise self._error(value)
        if isinstance(value, (int, float)) and not self._is_in_range(value):
            raise self._error(value)
        max_length = _MAX_TEXT_LENGTH if self.is_list else self.max_length
        if isinstance(value, str) and len(value) > max_length:
            raise ConfigError(
                f"{self.name}: expected a text of at most {max_length} characters, got "
                f"{len(value)}: "
                f"{shorten(value)}"
            )
        return value

    def _is_in_range(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )

    def _error(self, value: Any) -> ConfigError:
        return ConfigError(f"{self.name}: expected {self.expected()}, got {shorten(value)}")


def setting(
    default: Any = dataclasses.MISSING,
    description: str = "",
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] = (),
    read_only: bool = False,
    max_length: int | None = None,
) -> Any:
    """Declare one field of a settings class. A field without a default is required.

    ``max_length`` replaces the limit of a list (1000 entries) or of a single text (4096
    characters).
    """
    return dataclasses.field(
        default=default,
        metadata={
            "description": description,
            "unit": unit,
            "minimum": minimum,
            "maximum": maximum,
            "choices": tuple(choices),
            "read_only": read_only,
            "max_length": max_length,
        },
    )


def with_default(settings_class: type[Any], name: str, default: Any) -> Any:
    """Declare a field of a subclass like that of its base class, with another default."""
    fields = {field.name: field for field in dataclasses.fields(settings_class)}
    return dataclasses.field(default=default, metadata=fields[name].metadata)


def rules(settings_class: type[Any]) -> dict[str, Rule]:
    """Return the rule of every field of a settings class, in order of declaration."""
    hints = typing.get_type_hints(settings_class)
    rule_by_name = {}
    for field in dataclasses.fields(settings_class):
        hint = hints[field.name]
        is_list = typing.get_origin(hint) is tuple
        scalar = typing.get_args(hint)[0] if is_list else hint
        if scalar not in _SCALARS:
            raise TypeError(
                f"{settings_class.__name__}.{field.name}: {hint} is not a type for a setting"
            )
        max_length = field.metadata["max_length"] or (
            _MAX_LIST_LENGTH if is_list else _MAX_TEXT_LENGTH
        )
        rule_by_name[field.name] = Rule(
            name=field.name,
            type=scalar,
            is_list=is_list,
            default=field.default,
            **{**field.metadata, "max_length": max_length},
        )
    return rule_by_name


def build(settings_class: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make a settings object from plain values, and check them all.

    Raises ConfigError that names the setting, what it accepts and what it got.
    """
    known = rules(settings_class)
    for name in values:
        if name not in known:
            raise ConfigError(f"unknown setting {shorten(name)}{suggestion(name, known)}")
    missing = [name for name, rule in known.items() if rule.required and name not in values]
    if missing:
        raise ConfigError(f"{missing[0]}: {known[missing[0]].missing()}")
    settings = settings_class(
        **{name: known[name].convert(value) for name, value in values.items()}
    )
    return _check(settings)


def change(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return a copy of ``settings`` with some values replaced, and check them all."""
    current = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)  # type: ignore[arg-type]
    }
    return build(type(settings), {**current, **values})


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """Return '; did you mean …?' or a list of known names, for an unknown name.

    The list has the names that begin with the unknown one, if several do.
    """
    names = sorted(known)
    longer = [other for other in names if other.startswith(name)]
    if len(name) >= _MIN_START and len(longer) > 1:
        return f"; did you mean one of {_listed(longer)}?"
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {_listed(names)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES]) or 'none'}{more}"


def shorten(value: Any) -> str:
    """Return the ``repr`` of a value, cut if it is long."""
    if isinstance(value, Sequence):
        value = value[:_MAX_SHOWN_LENGTH]
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_LENGTH else f"{text[:_MAX_SHOWN_LENGTH]} …"


def _check(settings: Settings) -> Settings:
    check = getattr(settings, "check", None)
    reason = check() if check else None
    if reason:
        raise ConfigError(reason)
    return settings

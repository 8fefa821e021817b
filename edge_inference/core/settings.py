"""Settings declared once: type, default, bounds, unit, description.

A settings class is a frozen dataclass whose fields are made with
:func:`setting`. From the one declaration come the ROS parameter descriptors,
the checks of YAML files, the error messages and the tables in the docs::

    @dataclass(frozen=True)
    class DecodeSettings:
        confidence: float = setting(0.4, "lowest score reported", minimum=0.0, maximum=1.0)

A class may define ``check(self) -> str | None`` for rules across fields; the
sentence that it returns is the reason for a refusal.
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
_MOST_LETTERS = 4096
_MOST_ENTRIES = 1000
_MOST_SHOWN = 200
#: So many of the names that there are, are told to whoever asks for another one.
_MOST_NAMES = 20


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a setting accepts; ``type`` is bool, int, float or str, of one or (``is_list``) a list.

    ``max_length`` is the most entries of a list, or the most letters of a single text.
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
        """Say in words what is accepted."""
        if self.choices:
            words = "one of " + ", ".join(str(choice) for choice in self.choices)
        else:
            words = _SCALARS[self.type]
            if self.minimum is not None and self.maximum is not None:
                words += f" from {self.minimum:g} to {self.maximum:g}"
            elif self.minimum is not None:
                words += f" of at least {self.minimum:g}"
            elif self.maximum is not None:
                words += f" of at most {self.maximum:g}"
        if self.unit:
            words += f" ({self.unit})"
        return f"a list, each entry {words}" if self.is_list else words

    def convert(self, value: Any) -> Any:
        """Return ``value`` in the declared type; raise ConfigError with a sentence otherwise."""
        if not self.is_list:
            return self._scalar(value)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._refusal(value)
        if len(value) > self.max_length:
            raise ConfigError(
                f"{self.name}: expected at most {self.max_length} entries, got {len(value)}"
            )
        return tuple(self._scalar(item) for item in value)

    def _scalar(self, value: Any) -> Any:
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type or (self.choices and value not in self.choices):
            raise self._refusal(value)
        if isinstance(value, (int, float)) and not self._within(value):
            raise self._refusal(value)
        max_length = _MOST_LETTERS if self.is_list else self.max_length
        if isinstance(value, str) and len(value) > max_length:
            raise ConfigError(
                f"{self.name}: expected a text of at most {max_length} letters, got {len(value)}: "
                f"{shorten(value)}"
            )
        return value

    def _within(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )

    def _refusal(self, value: Any) -> ConfigError:
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

    ``max_length`` replaces the most entries of a list (1000) or letters of a single text (4096).
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


def rules(settings_class: type[Any]) -> dict[str, Rule]:
    """Return the rule of every field of a settings class, in order of declaration."""
    hints = typing.get_type_hints(settings_class)
    found = {}
    for field in dataclasses.fields(settings_class):
        hint = hints[field.name]
        is_list = typing.get_origin(hint) is tuple
        scalar = typing.get_args(hint)[0] if is_list else hint
        if scalar not in _SCALARS:
            raise TypeError(
                f"{settings_class.__name__}.{field.name}: {hint} is no type for a setting"
            )
        max_length = field.metadata["max_length"] or (_MOST_ENTRIES if is_list else _MOST_LETTERS)
        found[field.name] = Rule(
            name=field.name,
            type=scalar,
            is_list=is_list,
            default=field.default,
            **{**field.metadata, "max_length": max_length},
        )
    return found


def build(settings_class: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make a settings object from plain values, checking every one of them.

    Raises ConfigError that names the setting, what it accepts and what came.
    """
    known = rules(settings_class)
    for name in values:
        if name not in known:
            raise ConfigError(f"unknown setting {shorten(name)}{suggestion(name, known)}")
    missing = [name for name, rule in known.items() if rule.required and name not in values]
    if missing:
        raise ConfigError(f"{missing[0]}: missing; expected {known[missing[0]].expected()}")
    made = settings_class(**{name: known[name].convert(value) for name, value in values.items()})
    return _checked(made)


def change(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return a copy of ``settings`` with some values replaced and all checked."""
    current = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)  # type: ignore[arg-type]
    }
    return build(type(settings), {**current, **values})


def suggestion(name: str, known: typing.Iterable[str]) -> str:
    """Return '; did you mean …?' or the list of what there is, for an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"; known: {', '.join(names[:_MOST_NAMES]) or 'none'}{more}"


def shorten(value: Any) -> str:
    """Return a value as Python writes it, its beginning where it is long."""
    if isinstance(value, Sequence):
        value = value[:_MOST_SHOWN]
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} …"


def _checked(settings: Settings) -> Settings:
    check = getattr(settings, "check", None)
    reason = check() if check else None
    if reason:
        raise ConfigError(reason)
    return settings

"""Reads plain dataclasses from a section of a YAML file, with errors at file, line and key."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edge_inference.core.settings import shorten
from edge_inference.core.yaml_file import Section
from edge_inference.errors import ConfigError

Settings = TypeVar("Settings")

_TEXTS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    Path: "a file",
}
_NAME = re.compile(r"(\w+): ")


def read_settings(
    section: Section,
    settings_class: type[Settings],
    default: Settings | None = None,
    *,
    leave_out: Collection[str] = (),
) -> Settings:
    """Make a settings object from a section.

    Missing keys have the values of ``default``, by default those of the class. ``leave_out``
    names fields that are no keys. Fields are bool, int, float, str, Path, tuples of these,
    mappings, or other dataclasses, each possibly None. Raises ConfigError with file, line and key
    for an unknown or missing key, a value of another type, and for what the class itself refuses.
    """
    hints = typing.get_type_hints(settings_class)
    fields = {
        field.name: field
        for field in dataclasses.fields(settings_class)  # type: ignore[arg-type]
    }
    section.require_known(*(name for name in fields if name not in leave_out))
    read: dict[str, Any] = {}
    for name, field in fields.items():
        start = _default_of(default, field)
        if name in section and name not in leave_out:
            read[name] = _convert(section, name, section[name], hints[name], start)
        elif start is dataclasses.MISSING:
            raise section.error(name, f"missing; expected {_expected(hints[name])}")
        else:
            read[name] = start
    try:
        return settings_class(**read)
    except ConfigError as error:
        # The class names the field first; the section knows its line.
        match = _NAME.match(str(error))
        if match and match[1] in section:
            raise section.error(match[1], str(error)[match.end() :]) from None
        raise section.error(None, str(error)) from None


def _default_of(default: Any, field: dataclasses.Field[Any]) -> Any:
    if default is not None:
        return getattr(default, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _convert(section: Section, key: str, value: Any, hint: Any, start: Any) -> Any:
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (each for each in arguments if each is not type(None))
        return _convert(section, key, value, hint, start)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Section):
            raise section.error(key, f"expected a mapping of keys to values, got {shorten(value)}")
        inner = None if start is dataclasses.MISSING else start
        return read_settings(value, typing.cast("type[Any]", hint), inner)
    if origin is tuple:
        return _convert_list(section, key, value, arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Section):
            raise section.error(key, f"expected a mapping of keys to values, got {shorten(value)}")
        return value.plain()
    if hint is float and type(value) is int:
        value = float(value)
    if hint is Path and type(value) is str and value:
        return Path(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        shown = value.plain() if isinstance(value, Section) else value
        raise section.error(key, f"expected {_expected(hint)}, got {shorten(shown)}")
    return value


def _convert_list(section: Section, key: str, value: Any, arguments: tuple[Any, ...]) -> Any:
    is_open = arguments[-1] is Ellipsis
    count = None if is_open else len(arguments)
    if not isinstance(value, list) or (count is not None and len(value) != count):
        length = "" if count is None else f" of {count} entries"
        raise section.error(
            key,
            f"expected a list{length}, each entry {_expected(arguments[0])}, got "
            f"{shorten(value.plain() if isinstance(value, Section) else value)}",
        )
    hints = [arguments[0]] * len(value) if is_open else arguments
    return tuple(
        _convert(section, key, item, hint, dataclasses.MISSING)
        for item, hint in zip(value, hints, strict=True)
    )


def _expected(hint: Any) -> str:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or nothing, ".join(_expected(each) for each in arguments if each is not type(None))
    if typing.get_origin(hint) is tuple:
        return f"a list, each entry {_expected(arguments[0])}"
    return _TEXTS.get(hint, "a mapping of keys to values")

"""Substitution of ``${name}`` references to arguments in a pipeline description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge_inference.composition.parameter_format import parse_value

_REFERENCE = re.compile(r"\$\{(\w+)\}")


def rename_references(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with renamed references."""
    if not isinstance(value, str):
        return value
    return _REFERENCE.sub(lambda match: f"${{{names[match[1]]}}}", value)


def find_references(value: Any) -> set[str]:
    """Return the names of the arguments that a value refers to."""
    return set(_REFERENCE.findall(value)) if isinstance(value, str) else set()


def substitute(values: Mapping[str, Any], arguments: Mapping[str, str]) -> dict[str, Any]:
    """Substitute the arguments; an empty result is left out, so the node's default applies."""
    found = {name: _substitute_value(value, arguments) for name, value in values.items()}
    return {name: value for name, value in found.items() if value != ""}


def _substitute_value(value: Any, arguments: Mapping[str, str]) -> Any:
    """Substitute one value; if it is a single reference, it is parsed as a number or a list."""
    if not isinstance(value, str):
        return value
    text = _REFERENCE.sub(lambda match: arguments[match[1]], value)
    return parse_value(text) if _REFERENCE.fullmatch(value) else text

"""``${name}`` in a pipeline description: which arguments a value names, and what it becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edge_inference.composition.parameter_format import parse_value

_REFERENCE = re.compile(r"\$\{(\w+)\}")


def rename_references(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with other names for the arguments in it."""
    if not isinstance(value, str):
        return value
    return _REFERENCE.sub(lambda match: f"${{{names[match[1]]}}}", value)


def find_references(value: Any) -> set[str]:
    """Return the names of the arguments in a value."""
    return set(_REFERENCE.findall(value)) if isinstance(value, str) else set()


def substitute(values: Mapping[str, Any], arguments: Mapping[str, str]) -> dict[str, Any]:
    """Fill in the arguments; what comes out empty is left to the node's own default."""
    found = {name: _fill(value, arguments) for name, value in values.items()}
    return {name: value for name, value in found.items() if value != ""}


def _fill(value: Any, arguments: Mapping[str, str]) -> Any:
    """Replace ``${name}`` by the argument; one that is the whole value may be a number or list."""
    if not isinstance(value, str):
        return value
    text = _REFERENCE.sub(lambda match: arguments[match[1]], value)
    return parse_value(text) if _REFERENCE.fullmatch(value) else text

"""Parameter values as text, for command lines and launch files."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from edge_inference.core.yaml_file import BoundedLoader


def parse_value(text: str) -> Any:
    """Parse text as YAML if the result is a valid parameter value, else return the text."""
    try:
        value = yaml.load(text, Loader=BoundedLoader)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        # Unquoted text stays as it is, because YAML would drop " #1.jpg" and fold line breaks.
        return value if text.lstrip().startswith(("'", '"')) else text
    return value if isinstance(value, (bool, int, float, list)) else text


def format_value(value: Any) -> str:
    """Format a value for ``--ros-args -p name:=value``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, str):
        # Line breaks and other control characters need double quotes.
        return yaml.safe_dump(
            value, default_style='"', allow_unicode=True, width=sys.maxsize
        ).rstrip()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    return str(value)


def format_argument(value: str | int | float) -> str:
    """Format a value so that YAML does not read, for example, a model called "yes" as true."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    is_misread = isinstance(value, str) and parse_value(text) != text
    return format_value(text) if is_misread else text

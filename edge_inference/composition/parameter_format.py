"""Parameters' values as the texts that command lines and launch files hand over."""

from __future__ import annotations

import sys
from typing import Any

import yaml

from edge_inference.core.yaml_file import BoundedLoader


def parse_value(text: str) -> Any:
    """Read a text as YAML where that gives what a parameter can hold, else keep the text."""
    try:
        value = yaml.load(text, Loader=BoundedLoader)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        # Of words without quotes YAML would cut off " #1.jpg" and fold line breaks.
        return value if text.lstrip().startswith(("'", '"')) else text
    return value if isinstance(value, (bool, int, float, list)) else text


def format_value(value: Any) -> str:
    """Write a parameter's value the way ``--ros-args -p name:=value`` reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, str):
        # Line breaks and the like survive between double quotes only.
        return yaml.safe_dump(
            value, default_style='"', allow_unicode=True, width=sys.maxsize
        ).rstrip()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    return str(value)

"""Changes a few values in the text of a YAML file and leaves every other character as it is.

PyYAML does not keep comments, order and layout. So this looks up the positions of the values in
the text and replaces only those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import yaml

from edge_inference.core.yaml_file import BoundedLoader
from edge_inference.errors import ConfigError

Value = str | Sequence[str]

#: Texts that need no quotes.
_PLAIN = re.compile(r"[A-Za-z_/][\w./:-]*[\w./]|[A-Za-z]", re.ASCII)
#: Texts that YAML reads as a boolean or null without quotes.
_RESERVED = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
_INDENT = "  "


def set_values(text: str, section: str, values: Mapping[str, Value]) -> str:
    """Set values of one top-level section, which is added if it is missing; return the text.

    A value is a text or a list of texts. Raises ConfigError for a text whose top level is not a
    block of ``key: value`` lines. The caller must check that the result has the intended values,
    since not every YAML layout is supported.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    top = _compose(text)
    node = _value_node(top, section)
    if node is None:
        added = f"{section}:\n{_format_entries(values, _INDENT)}"
        return _end_with_newline(text, newline) + newline + _use_newline(added, newline)
    if not isinstance(node, yaml.MappingNode) or node.flow_style or not node.value:
        old = yaml.load(text, Loader=BoundedLoader)[section] or {}
        # JSON is valid YAML.
        return _replace_node(text, node, json.dumps({**old, **values}, ensure_ascii=False))
    for key, value in values.items():
        text = _set_value(text, section, key, value, newline)
    return text


def set_list(text: str, key: str, entries: Sequence[Mapping[str, str]]) -> str:
    """Set a top-level list of mappings, each in a line of its own; return the text.

    The list is added if it is missing; comments inside an old one go with it. Raises ConfigError
    as :func:`set_values` does; the caller must check the result, too.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    top = _compose(text)
    lines = "".join(f"\n{_INDENT}- {_format_mapping(entry)}" for entry in entries) or " []"
    old = _value_node(top, key)
    if old is None:
        added = f"{newline}{key}:{_use_newline(lines, newline)}{newline}"
        return _end_with_newline(text, newline) + added
    start = _key_end(text, top, key)
    return text[:start] + _use_newline(lines, newline) + text[_node_end(old) :]


def _format_mapping(entry: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{key}: {_format_scalar(value)}' for key, value in entry.items())}}}"


def _set_value(text: str, section: str, key: str, value: Value, newline: str) -> str:
    block = _value_node(_compose(text), section)
    assert isinstance(block, yaml.MappingNode)
    indent = " " * block.start_mark.column
    formatted = _format_value(value, indent + _INDENT)
    old = _value_node(block, key)
    if old is not None:
        start = _key_end(text, block, key)
        return text[:start] + _use_newline(formatted, newline) + text[_node_end(old) :]
    position = _line_end(text, _node_end(block.value[-1][1]))
    return text[:position] + _use_newline(f"\n{indent}{key}:{formatted}", newline) + text[position:]


def _compose(text: str) -> yaml.MappingNode:
    try:
        top = yaml.compose(text, Loader=BoundedLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}") from error
    if not isinstance(top, yaml.MappingNode) or top.flow_style or top.start_mark.column:
        raise ConfigError("expected lines of `key: value` without indentation at the top level")
    return top


def _value_node(mapping: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in mapping.value if name.value == key), None)


def _key_end(text: str, mapping: yaml.MappingNode, key: str) -> int:
    """Return the position after the colon of a key."""
    (name,) = (name for name, _ in mapping.value if name.value == key)
    return text.index(":", name.end_mark.index) + 1


def _node_end(node: yaml.Node) -> int:
    """Return the end of a node. The end mark of a block is after the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _node_end(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)


def _line_end(text: str, position: int) -> int:
    match = re.compile(r"\r?\n|\Z").search(text, position)
    return position if match is None else match.start()


def _replace_node(text: str, node: yaml.Node, formatted: str) -> str:
    start = node.start_mark.index
    space = "" if text[start - 1].isspace() else " "
    return text[:start] + space + formatted + text[_node_end(node) :]


def _end_with_newline(text: str, newline: str) -> str:
    return text if text.endswith("\n") else text + newline


def _use_newline(text: str, newline: str) -> str:
    return text.replace("\n", newline)


def _format_entries(values: Mapping[str, Value], indent: str) -> str:
    return "".join(
        f"{indent}{key}:{_format_value(value, indent + _INDENT)}\n" for key, value in values.items()
    )


def _format_value(value: Value, indent: str) -> str:
    """Return the text after the colon of a key."""
    if isinstance(value, str):
        return " " + _format_scalar(value)
    if not value:
        return " []"
    return "".join(f"\n{indent}- {_format_scalar(entry)}" for entry in value)


def _format_scalar(text: str) -> str:
    """Return a text, in quotes if YAML could read it as something else."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED and not text.endswith(":"):
        return text
    return json.dumps(text, ensure_ascii=False)

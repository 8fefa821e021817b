"""Changes a few values of a YAML file and leaves every other character as it was.

Comments, order and layout belong to whoever wrote the file, and no YAML library
in use here keeps them; so the values' places are looked up and only these are
written anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import yaml

from edge_inference.core.yaml_file import BoundedLoader
from edge_inference.errors import ConfigError

Value = str | Sequence[str]

_PLAIN = re.compile(r"[A-Za-z_/][\w./:-]*[\w./]|[A-Za-z]", re.ASCII)
_WORDS = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
_INDENT = "  "


def set_values(text: str, section: str, values: Mapping[str, Value]) -> str:
    """Return the text with values of one top-level section set; the section is made if need be.

    A value is a text or a list of texts. Raises ConfigError for a text whose top
    is no block of ``key: value`` lines. What the result means is for the caller
    to check: YAML has more ways to write a thing than are known here.
    """
    break_ = "\r\n" if "\r\n" in text else "\n"
    top = _compose(text)
    found = _value_node(top, section)
    if found is None:
        added = f"{section}:\n{_lines(values, _INDENT)}"
        return _ending_with(text, break_) + break_ + _broken(added, break_)
    if not isinstance(found, yaml.MappingNode) or found.flow_style or not found.value:
        old = yaml.load(text, Loader=BoundedLoader)[section] or {}
        # JSON is YAML, too.
        return _replaced(text, found, json.dumps({**old, **values}, ensure_ascii=False))
    for key, value in values.items():
        text = _set(text, section, key, value, break_)
    return text


def _set(text: str, section: str, key: str, value: Value, break_: str) -> str:
    block = _value_node(_compose(text), section)
    assert isinstance(block, yaml.MappingNode)
    indent = " " * block.start_mark.column
    written = _written(value, indent + _INDENT)
    old = _value_node(block, key)
    if old is not None:
        start = _key_end(text, block, key)
        return text[:start] + _broken(written, break_) + text[_end(old) :]
    at = _line_end(text, _end(block.value[-1][1]))
    return text[:at] + _broken(f"\n{indent}{key}:{written}", break_) + text[at:]


def _compose(text: str) -> yaml.MappingNode:
    try:
        top = yaml.compose(text, Loader=BoundedLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {error}") from error
    if not isinstance(top, yaml.MappingNode) or top.flow_style or top.start_mark.column:
        raise ConfigError("expected lines of `key: value` that start at the left margin")
    return top


def _value_node(mapping: yaml.MappingNode, key: str) -> yaml.Node | None:
    return next((value for name, value in mapping.value if name.value == key), None)


def _key_end(text: str, mapping: yaml.MappingNode, key: str) -> int:
    """Return where the value of a key may begin: behind its colon."""
    (name,) = (name for name, _ in mapping.value if name.value == key)
    return text.index(":", name.end_mark.index) + 1


def _end(node: yaml.Node) -> int:
    """Return where a node ends. A block's own mark lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    found = re.compile(r"\r?\n|\Z").search(text, at)
    return at if found is None else found.start()


def _replaced(text: str, node: yaml.Node, written: str) -> str:
    start = node.start_mark.index
    space = "" if text[start - 1].isspace() else " "
    return text[:start] + space + written + text[_end(node) :]


def _ending_with(text: str, break_: str) -> str:
    return text if text.endswith("\n") else text + break_


def _broken(text: str, break_: str) -> str:
    return text.replace("\n", break_)


def _lines(values: Mapping[str, Value], indent: str) -> str:
    return "".join(
        f"{indent}{key}:{_written(value, indent + _INDENT)}\n" for key, value in values.items()
    )


def _written(value: Value, indent: str) -> str:
    """Write what follows a key's colon."""
    if isinstance(value, str):
        return " " + _scalar(value)
    if not value:
        return " []"
    return "".join(f"\n{indent}- {_scalar(entry)}" for entry in value)


def _scalar(text: str) -> str:
    """Write a text plainly where that cannot be read as anything else, in quotes otherwise."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not text.endswith(":"):
        return text
    return json.dumps(text, ensure_ascii=False)

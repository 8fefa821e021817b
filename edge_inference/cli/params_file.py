"""What a ROS parameter file says that reaches nobody; ROS itself passes over it in silence."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from edge_inference.core.settings import suggestion
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.errors import ConfigError

_PARAMETERS = "ros__parameters"


def find_unused_entries(file: Path, nodes: Mapping[str, Collection[str]]) -> list[str]:
    """Return a sentence for each entry that no node takes, with file, line and key.

    ``nodes`` are the declared parameters of each node by its full name. Raises
    ConfigError where the file cannot be read.
    """
    return [str(error) for error in _entries_without_effect(load_yaml(file), "", nodes)]


def _entries_without_effect(
    section: Section, name: str, nodes: Mapping[str, Collection[str]]
) -> Iterator[ConfigError]:
    for key, value in section.items():
        if not isinstance(value, Section):
            continue
        if key != _PARAMETERS:
            yield from _entries_without_effect(value, f"{name}/{key.strip('/')}", nodes)
            continue
        reached = [node for node in nodes if _pattern(name).fullmatch(node)]
        if not reached:
            yield section.error(None, f"no node is called {name}{suggestion(name, nodes)}")
            continue
        declared = {parameter for node in reached for parameter in nodes[node]}
        yield from _unknown(value, "", declared)


def _unknown(section: Section, prefix: str, declared: Collection[str]) -> Iterator[ConfigError]:
    for key, value in section.items():
        name = prefix + key
        if isinstance(value, Section):
            yield from _unknown(value, f"{name}.", declared)
        elif name not in declared:
            yield section.error(key, f"no node here has the parameter{suggestion(name, declared)}")


def _pattern(name: str) -> re.Pattern[str]:
    """Turn a node's name with ROS's wildcards into an expression."""
    parts = (re.escape(part) for part in name.split("/")[1:])
    wild = {r"\*\*": "(/[^/]+)*", r"\*": "/[^/]+"}
    return re.compile("".join(wild.get(part, f"/{part}") for part in parts))

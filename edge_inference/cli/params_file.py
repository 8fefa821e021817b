"""Entries of a ROS parameter file that reach no node; ROS itself ignores them silently."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from edge_inference.core.settings import suggestion
from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.errors import ConfigError

_PARAMETERS = "ros__parameters"


def find_unused_entries(file: Path, nodes: Mapping[str, Collection[str]]) -> list[str]:
    """Return a sentence for each entry that no node uses, with file, line and key.

    ``nodes`` maps each node's full name to its declared parameters. Raises
    ConfigError where the file cannot be read.
    """
    return [str(error) for error in _unused_entries(load_yaml(file), "", nodes)]


def _unused_entries(
    section: Section, name: str, nodes: Mapping[str, Collection[str]]
) -> Iterator[ConfigError]:
    for key, value in section.items():
        if not isinstance(value, Section):
            continue
        if key != _PARAMETERS:
            yield from _unused_entries(value, f"{name}/{key.strip('/')}", nodes)
            continue
        reached = [node for node in nodes if _pattern(name).fullmatch(node)]
        if not reached:
            yield section.error(None, f"no node is called {name}{suggestion(name, nodes)}")
            continue
        declared = {parameter for node in reached for parameter in nodes[node]}
        yield from _unknown_parameters(value, "", declared)


def _unknown_parameters(
    section: Section, prefix: str, declared: Collection[str]
) -> Iterator[ConfigError]:
    for key, value in section.items():
        name = prefix + key
        if isinstance(value, Section):
            yield from _unknown_parameters(value, f"{name}.", declared)
        elif name not in declared:
            yield section.error(key, f"no node here has this parameter{suggestion(name, declared)}")


def _pattern(name: str) -> re.Pattern[str]:
    """Convert a node name with ROS wildcards into a regular expression."""
    parts = (re.escape(part) for part in name.split("/")[1:])
    wild = {r"\*\*": "(/[^/]+)*", r"\*": "/[^/]+"}
    return re.compile("".join(wild.get(part, f"/{part}") for part in parts))

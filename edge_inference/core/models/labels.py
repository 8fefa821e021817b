"""The names of a model's classes."""

from __future__ import annotations

from pathlib import Path

from edge_inference.core.bounded_file import read_text
from edge_inference.core.yaml_file import Section, path_inside


def read_labels(top: Section, folder: Path) -> tuple[str, ...]:
    """Read ``labels``: a list, or the name of a file in the folder. Raises ConfigError."""
    value = top.get("labels", [])
    if isinstance(value, list):
        for label in value:
            if not isinstance(label, str):
                raise top.error("labels", f"expected texts, got {label!r}; put it in quotes")
        return tuple(value)
    file = path_inside(folder, top, "labels")
    try:
        lines = read_text(file).splitlines()
    except OSError as error:
        raise top.error("labels", f"{file} cannot be read: {error.strerror}") from error
    labels = tuple(line.strip() for line in lines)
    if not labels or "" in labels:
        raise top.error("labels", f"{file} has an empty line; expected one label a line")
    return labels

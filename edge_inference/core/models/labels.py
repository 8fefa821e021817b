"""The names of a model's classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_inference.core.label_file import LabelsError, read_labels_file
from edge_inference.core.settings import shorten
from edge_inference.core.yaml_file import Section, path_inside

#: Maximum length of a label in characters; messages with longer names are refused.
MAX_LABEL_LENGTH = 256
#: Maximum number of classes in a message: numbers are uint16, and the last one is "unlabeled".
MAX_CLASSES = 65535


@dataclass(frozen=True)
class ModelClasses:
    """The names of a model's classes by number, none if they have no names, and its threshold.

    ``threshold`` is the minimum score that is reported, 0 for a model that reports all.
    """

    labels: tuple[str, ...]
    threshold: float
    stamp_ns: int = 0


def read_threshold(decoder_settings: Any) -> float:
    """Return the minimum score of a decoder, its setting ``confidence`` or ``threshold``, or 0."""
    names = ("confidence", "threshold")
    values = (getattr(decoder_settings, name, None) for name in names)
    return next((float(value) for value in values if isinstance(value, (int, float))), 0.0)


def read_labels(top: Section, folder: Path) -> tuple[str, ...]:
    """Read ``labels``: a list, or the name of a file in the folder. Raises ConfigError."""
    labels = _read_names(top, folder)
    for number, label in enumerate(labels):
        found = _find_fault(label)
        if found:
            raise top.error(
                "labels",
                f"expected a text of at most {MAX_LABEL_LENGTH} characters as name of class "
                f"{number}, got {found}; write one label a line",
            )
    return labels


def _find_fault(label: str) -> str:
    """Return why a label cannot be sent in a message, "" if it can."""
    if len(label) > MAX_LABEL_LENGTH:
        return f"{len(label)} characters, {shorten(label)}"
    try:
        label.encode()
    except UnicodeEncodeError:
        return f"half of a surrogate pair, {shorten(label)}"
    return ""


def _read_names(top: Section, folder: Path) -> tuple[str, ...]:
    value = top.get("labels", [])
    if isinstance(value, list):
        for label in value:
            if not isinstance(label, str):
                raise top.error("labels", f"expected texts, got {label!r}; put it in quotes")
        return tuple(value)
    try:
        return read_labels_file(path_inside(folder, top, "labels"))
    except LabelsError as error:
        raise top.error("labels", str(error)) from error

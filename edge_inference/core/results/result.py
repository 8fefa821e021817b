"""What all results have in common, whatever their kind."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Protocol, TypeVar


class Result(Protocol):
    """What a model found in one image: a frozen dataclass with at least these fields.

    Positions are in source pixels; arrays are read-only on the bus. The decode node sets
    ``model``, ``stamp_ns`` and ``frame_id``, so these have defaults in every kind.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def model(self) -> str:
        """Return the name of the model."""

    @property
    def stamp_ns(self) -> int:
        """Return the capture stamp of the image."""

    @property
    def frame_id(self) -> str:
        """Return the frame_id of the image."""


AnyResult = TypeVar("AnyResult", bound=Result)
#: The fields of every result, which the decode node sets.
COMMON_FIELDS = ("model", "stamp_ns", "frame_id")


def is_class_number(text: str) -> bool:
    """Tell whether a text is the name that :func:`label_of` gives a class without a label."""
    return text.isascii() and text.isdecimal() and len(text) < 10 and str(int(text)) == text


def label_of(labels: tuple[str, ...], class_id: int) -> str:
    """Return the name of a class, or its number where the model has no name for it."""
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)

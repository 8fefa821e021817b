"""What a decoder is, and how a function becomes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from edge_inference.core.images.geometry import Geometry
from edge_inference.core.results import Result


@dataclass(frozen=True)
class DecodeContext:
    """The inputs of a decoder besides the tensors, for one image.

    ``labels`` are the names of the model's classes, empty where the model has no
    names. ``geometry`` maps the model's input of ``input_width`` by
    ``input_height`` pixels to the source image.
    """

    labels: tuple[str, ...]
    geometry: Geometry
    input_width: int
    input_height: int
    model: str


Decoder = Callable[[Mapping[str, NDArray[Any]], DecodeContext, Any], Result]
"""One image's raw outputs (batch axis kept, length 1), context, settings → result."""

AnyDecoder = TypeVar("AnyDecoder", bound=Callable[..., Result])


@dataclass(frozen=True)
class DecoderEntry:
    """A decoder, its name, and the settings class that it takes."""

    name: str
    settings_class: type[Any]
    function: Decoder


_registered: list[DecoderEntry] = []


def register(name: str, settings_class: type[Any]) -> Callable[[AnyDecoder], AnyDecoder]:
    """Make a function the decoder ``name``; its settings are a ``settings_class`` object."""

    def add(function: AnyDecoder) -> AnyDecoder:
        _registered.append(DecoderEntry(name, settings_class, function))
        return function

    return add


def entries_of(function: object) -> tuple[DecoderEntry, ...]:
    """Return the decoders that a function was registered as, none if it is no decoder."""
    return tuple(entry for entry in _registered if entry.function is function)

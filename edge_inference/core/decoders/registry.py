"""Decoders by name, built in or from anywhere else."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from edge_inference.core.images.geometry import Geometry
from edge_inference.core.results import Result
from edge_inference.core.settings import suggestion
from edge_inference.errors import PluginError


@dataclass(frozen=True)
class DecodeContext:
    """What a decoder knows besides the tensors, for one image.

    ``labels`` names the model's classes, or is empty where the model has no
    names. ``geometry`` leads from the model's input of ``input_width`` by
    ``input_height`` pixels back to the source image.
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


_entries: dict[str, DecoderEntry] = {}


def register(name: str, settings_class: type[Any]) -> Callable[[AnyDecoder], AnyDecoder]:
    """Make a function known as the decoder ``name``; it takes a ``settings_class`` object.

    Raises PluginError where the name is taken.
    """

    def add(function: AnyDecoder) -> AnyDecoder:
        taken = _entries.get(name)
        if taken is not None:
            raise PluginError(
                f"decoder {name!r} of {_origin(function)} is already registered by "
                f"{_origin(taken.function)}; register it under another name"
            )
        _entries[name] = DecoderEntry(name, settings_class, function)
        return function

    return add


def find(name: str) -> DecoderEntry:
    """Return a decoder by its registered name, or by ``package.module:function``.

    The second form imports the module, in which the function must be decorated
    with :func:`register`. Raises PluginError where the name leads nowhere.
    """
    if ":" in name:
        return _imported(name)
    if name not in _entries:
        raise PluginError(f"unknown decoder {name!r}{suggestion(name, _entries)}")
    return _entries[name]


def names() -> tuple[str, ...]:
    """Return the names of all registered decoders, sorted."""
    return tuple(sorted(_entries))


def _imported(name: str) -> DecoderEntry:
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name or module_name.startswith("."):
        raise PluginError(f"decoder {name!r}: expected package.module:function")
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, function_name, None)  # a module may import it only now
    except BaseException as error:  # some modules end the program that imports them
        # What the module registered before it failed would block the next attempt.
        for entry in [e for e in _entries.values() if e.function.__module__ == module_name]:
            del _entries[entry.name]
        raise PluginError(
            f"decoder {name!r}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    if function is None:
        raise PluginError(
            f"decoder {name!r}: {module_name} has no {function_name!r}"
            f"{suggestion(function_name, [n for n in vars(module) if not n.startswith('_')])}"
        )
    for entry in _entries.values():
        if entry.function is function:
            return entry
    raise PluginError(
        f"decoder {name!r}: {function_name} is no decoder; decorate it with "
        "@register(name, settings_class) from edge_inference.core.decoders"
    )


def _origin(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{getattr(function, '__qualname__', function)}"

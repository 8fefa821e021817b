"""The registry of decoders by name, built-in and external."""

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


_entries: dict[str, DecoderEntry] = {}


def register(name: str, settings_class: type[Any]) -> Callable[[AnyDecoder], AnyDecoder]:
    """Register a function as the decoder ``name``; its settings are a ``settings_class`` object.

    Raises PluginError where the name is taken.
    """

    def add(function: AnyDecoder) -> AnyDecoder:
        existing = _entries.get(name)
        if existing is not None:
            raise PluginError(
                f"decoder {name!r} of {_origin(function)} is already registered by "
                f"{_origin(existing.function)}; register it under another name"
            )
        _entries[name] = DecoderEntry(name, settings_class, function)
        return function

    return add


def find(name: str) -> DecoderEntry:
    """Return a decoder by its registered name, or by ``package.module:function``.

    The second form imports the module; its function must be decorated
    with :func:`register`. Raises PluginError for an unknown name.
    """
    if ":" in name:
        return _import_decoder(name)
    if name not in _entries:
        raise PluginError(f"unknown decoder {name!r}{suggestion(name, _entries)}")
    return _entries[name]


def names() -> tuple[str, ...]:
    """Return the names of all registered decoders, sorted."""
    return tuple(sorted(_entries))


def _import_decoder(name: str) -> DecoderEntry:
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name or module_name.startswith("."):
        raise PluginError(f"decoder {name!r}: expected package.module:function")
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, function_name, None)  # may run a module's __getattr__
    except BaseException as error:  # some modules raise SystemExit on import
        # Decoders that the module registered before it failed would block the next attempt.
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
        f"decoder {name!r}: {function_name} is not a decoder; decorate it with "
        "@register(name, settings_class) from edge_inference.core.decoders"
    )


def _origin(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{getattr(function, '__qualname__', function)}"

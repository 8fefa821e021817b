"""The table of decoders: those of this package, those of installed packages, and by import path."""

from __future__ import annotations

import importlib
from typing import Any

from edge_inference.core.decoders import (
    classification,
    depth,
    detection_lists,
    detection_rows,
    detr,
    nanodet,
    segmentation,
    ssd,
    yolo,
    yolo_heads,
    yolox,
)
from edge_inference.core.decoders.registry import DecoderEntry, entries_of
from edge_inference.core.extension_table import ExtensionTable
from edge_inference.core.runtime.worker import format_error
from edge_inference.core.settings import rules, suggestion
from edge_inference.errors import PluginError

_FUNCTIONS = (
    classification.decode,
    depth.decode,
    detection_lists.decode,
    detection_rows.decode,
    detr.decode,
    nanodet.decode,
    segmentation.decode,
    ssd.decode,
    yolo.decode_yolov5,
    yolo.decode_yolov8,
    yolo_heads.decode,
    yolox.decode,
)


def find(name: str) -> DecoderEntry:
    """Return a decoder by its name in the table, or by ``package.module:function``.

    The second form imports the module; its function must be decorated with ``register``. Raises
    PluginError for an unknown or unusable decoder.
    """
    return _import_decoder(name) if ":" in name else DECODERS.get(name)


def names() -> tuple[str, ...]:
    """Return the names of all decoders in the table, sorted."""
    return tuple(sorted(DECODERS.rows()))


def _import_decoder(name: str) -> DecoderEntry:
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name or module_name.startswith("."):
        raise PluginError(f"decoder {name!r}: expected package.module:function")
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, function_name, None)  # may run a module's __getattr__
    except BaseException as error:  # some modules raise SystemExit on import
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        hint = (
            "; install its package, or add its parent folder to PYTHONPATH"
            if missing is not None and f"{module_name}.".startswith(f"{missing}.")
            else ""
        )
        raise PluginError(
            f"decoder {name!r}: importing {module_name} failed: {format_error(error)}{hint}"
        ) from error
    if function is None:
        raise PluginError(
            f"decoder {name!r}: {module_name} has no {function_name!r}"
            f"{suggestion(function_name, [n for n in vars(module) if not n.startswith('_')])}"
        )
    try:
        entry = _entry_of(function, function_name)
    except PluginError as error:
        raise PluginError(f"decoder {name!r}: {error}") from error
    reason = _settings_problem(entry)
    if reason is not None:
        raise PluginError(f"decoder {name!r}: {reason}")
    return entry


def _entry_of(function: Any, name: str) -> DecoderEntry:
    """Return the decoder of a function, that of the name if it was registered several times."""
    entries = entries_of(function)
    if not entries:
        raise PluginError(
            f"{getattr(function, '__name__', type(function).__name__)} is not a decoder; decorate "
            "it with @register(name, settings_class) from edge_inference.core.decoders"
        )
    return next((entry for entry in entries if entry.name == name), entries[0])


def _settings_problem(entry: DecoderEntry) -> str | None:
    try:
        rules(entry.settings_class)
    except Exception as error:
        return f"its settings class is unusable: {format_error(error)}"
    return None


DECODERS = ExtensionTable(
    "decoders",
    "decoder",
    DecoderEntry,
    [entry for function in _FUNCTIONS for entry in entries_of(function)],
    lambda entry, rows: _settings_problem(entry),
    _entry_of,
)

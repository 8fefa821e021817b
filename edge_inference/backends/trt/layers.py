"""The precision in which each layer of an engine really computes, from the engine inspector.

The inspector's JSON depends on the release: up to TensorRT 10 a layer's tensors have one field
"Format/Datatype", later two. An engine that was built without detailed profiling verbosity
lists names only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_inference.errors import BackendError

#: Precisions of arithmetic on activations, without the integer types of indices and shapes.
COMPUTE_PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8", "int4")
UNKNOWN = "unknown"

# The order matters: "BFloat16" contains "Float", "UInt8" contains "Int8".
_TYPE_NAMES = (
    ("BFLOAT16", "bf16"),
    ("BF16", "bf16"),
    ("FP16", "fp16"),
    ("HALF", "fp16"),
    ("FP32", "fp32"),
    ("FLOAT", "fp32"),
    ("FP8", "fp8"),
    ("FP4", "fp4"),
    ("UINT8", "uint8"),
    ("INT8", "int8"),
    ("INT4", "int4"),
    ("INT32", "int32"),
    ("INT64", "int64"),
    ("BOOL", "bool"),
)
_TYPE_FIELDS = ("Format/Datatype", "Datatype", "DataType", "Format")
# Layers that hold, move or convert values.
_DATA_MOVEMENT = frozenset(
    {
        "assertion",
        "cast",
        "concat",
        "concatenation",
        "constant",
        "copy",
        "dequantize",
        "gather",
        "identity",
        "move",
        "noop",
        "quantize",
        "reformat",
        "reshape",
        "shape",
        "shuffle",
        "signal",
        "slice",
        "split",
        "wait",
    }
)


@dataclass(frozen=True)
class LayerPrecision:
    """One layer. ``kind`` is TensorRT's layer type; ``computes`` is False for data movement.

    ``precision`` is one of COMPUTE_PRECISIONS, another number type such as "int64", or
    "unknown". Layers with weights (``weighted``) do most of the work.
    """

    name: str
    kind: str
    precision: str
    computes: bool
    weighted: bool = False


def inspect_layers(trt: Any, engine: Any) -> tuple[LayerPrecision, ...]:
    """Return the layers of a deserialized engine. Raises BackendError (see parse_layers)."""
    inspector = engine.create_engine_inspector()
    return parse_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def parse_layers(text: str) -> tuple[LayerPrecision, ...]:
    """Read the inspector's JSON. Raises BackendError for an unknown format."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BackendError(f"the engine inspector returned invalid JSON ({error})") from error
    found = content.get("Layers") if isinstance(content, Mapping) else None
    if not isinstance(found, list):
        raise BackendError("the engine inspector's JSON: expected a list 'Layers'")
    return tuple(_parse_layer(entry) for entry in found)


def count_precisions(layers: Iterable[LayerPrecision]) -> dict[str, int]:
    """Count the layers that compute, by precision, most frequent first."""
    return dict(Counter(entry.precision for entry in layers if entry.computes).most_common())


def main_precision(layers: Iterable[LayerPrecision]) -> str | None:
    """Return the precision of most layers with weights, or of most layers if none has weights.

    None where the precision of no layer is known.
    """
    known = [e for e in layers if e.computes and e.precision in COMPUTE_PRECISIONS]
    weighted = [entry for entry in known if entry.weighted]
    return next(iter(count_precisions(weighted or known)), None)


def precision_of_type(type_name: str) -> str:
    """Return the precision for TensorRT's name of a type or format."""
    upper = type_name.upper()
    return next((name for part, name in _TYPE_NAMES if part in upper), UNKNOWN)


def moves_data(kind: str) -> bool:
    """Tell whether layers of a kind only hold, move or convert values."""
    return kind.lower() in _DATA_MOVEMENT


def _parse_layer(entry: Any) -> LayerPrecision:
    if not isinstance(entry, Mapping):  # built with a verbosity that keeps names only
        return LayerPrecision(str(entry), "", UNKNOWN, computes=True)
    kind = str(entry.get("LayerType", ""))
    precision = _precision(entry)
    computes = not moves_data(kind) and precision in (*COMPUTE_PRECISIONS, UNKNOWN)
    return LayerPrecision(
        str(entry.get("Name", "")), kind, precision, computes, bool(entry.get("Weights"))
    )


def _precision(entry: Mapping[str, Any]) -> str:
    """Return the precision of the weights, or else of the first input of a computing type."""
    weights = entry.get("Weights")
    types = [str(weights.get("Type", ""))] if isinstance(weights, Mapping) else []
    types += [_type_text(end) for end in _list(entry, "Inputs") + _list(entry, "Outputs")]
    precisions = [precision_of_type(name) for name in types]
    computing = [name for name in precisions if name in COMPUTE_PRECISIONS]
    chosen = next(iter(computing or [p for p in precisions if p != UNKNOWN]), UNKNOWN)
    if chosen == "fp32" and "tf32" in str(entry.get("TacticName", "")).lower():
        return "tf32"
    return chosen


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _type_text(end: Any) -> str:
    if not isinstance(end, Mapping):
        return ""
    return " ".join(str(end[field]) for field in _TYPE_FIELDS if field in end)

"""The precision that each layer of an engine really computes in, from TensorRT's own words.

The engine inspector gives JSON whose shape changed between releases: a layer's
tensors have one field "Format/Datatype" up to TensorRT 10 and two later; an
engine built without detailed profiling verbosity lists names only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_inference.errors import BackendError

#: Precisions of arithmetic on activations; integers of indices and shapes are not among them.
COMPUTE_PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8", "int4")
UNKNOWN = "unknown"

# In this order: "BFloat16" contains "Float", "UInt8" contains "Int8".
_TYPE_WORDS = (
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
_MOVERS = frozenset(
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
    """One layer. ``kind`` is TensorRT's type of layer; ``computes`` is False for mere movers.

    ``precision`` is one of COMPUTE_PRECISIONS, another type of number such as
    "int64", or "unknown". ``weighted`` tells that the layer has weights, hence
    most of the work.
    """

    name: str
    kind: str
    precision: str
    computes: bool
    weighted: bool = False


def inspect_layers(trt: Any, engine: Any) -> tuple[LayerPrecision, ...]:
    """Return the layers of a deserialised engine. Raises BackendError (see parse_layers)."""
    inspector = engine.create_engine_inspector()
    return parse_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def parse_layers(text: str) -> tuple[LayerPrecision, ...]:
    """Read the inspector's JSON. Raises BackendError where it is of no known form."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BackendError(f"the engine inspector gave no valid JSON ({error})") from error
    found = content.get("Layers") if isinstance(content, Mapping) else None
    if not isinstance(found, list):
        raise BackendError("the engine inspector's JSON has no list 'Layers'")
    return tuple(_parsed(entry) for entry in found)


def count_precisions(layers: Iterable[LayerPrecision]) -> dict[str, int]:
    """Count the layers that compute, by precision, most frequent first."""
    return dict(Counter(entry.precision for entry in layers if entry.computes).most_common())


def main_precision(layers: Iterable[LayerPrecision]) -> str | None:
    """Return the precision of most layers with weights, or of most layers where none has any.

    None where no layer's precision is known.
    """
    known = [e for e in layers if e.computes and e.precision in COMPUTE_PRECISIONS]
    weighted = [entry for entry in known if entry.weighted]
    return next(iter(count_precisions(weighted or known)), None)


def precision_of_type(words: str) -> str:
    """Return the precision that a type or format in TensorRT's words stands for."""
    shouted = words.upper()
    return next((name for word, name in _TYPE_WORDS if word in shouted), UNKNOWN)


def moves_data(kind: str) -> bool:
    """Tell whether layers of a kind only hold, move or convert values."""
    return kind.lower() in _MOVERS


def _parsed(entry: Any) -> LayerPrecision:
    if not isinstance(entry, Mapping):  # built with the verbosity that keeps names only
        return LayerPrecision(str(entry), "", UNKNOWN, computes=True)
    kind = str(entry.get("LayerType", ""))
    precision = _precision(entry)
    computes = not moves_data(kind) and precision in (*COMPUTE_PRECISIONS, UNKNOWN)
    return LayerPrecision(
        str(entry.get("Name", "")), kind, precision, computes, bool(entry.get("Weights"))
    )


def _precision(entry: Mapping[str, Any]) -> str:
    """Weights tell best; without them the first input of a computing type does."""
    weights = entry.get("Weights")
    types = [str(weights.get("Type", ""))] if isinstance(weights, Mapping) else []
    types += [_type_words(end) for end in _list(entry, "Inputs") + _list(entry, "Outputs")]
    precisions = [precision_of_type(words) for words in types]
    computing = [name for name in precisions if name in COMPUTE_PRECISIONS]
    chosen = next(iter(computing or [p for p in precisions if p != UNKNOWN]), UNKNOWN)
    if chosen == "fp32" and "tf32" in str(entry.get("TacticName", "")).lower():
        return "tf32"
    return chosen


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key)
    return value if isinstance(value, list) else []


def _type_words(end: Any) -> str:
    if not isinstance(end, Mapping):
        return ""
    return " ".join(str(end[field]) for field in _TYPE_FIELDS if field in end)

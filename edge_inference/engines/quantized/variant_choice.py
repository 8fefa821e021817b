"""Chooses the file of a model in a precision for an engine, by how the files are quantized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.variants import Variant
from edge_inference.engines.quantized.quantized_file import look_at
from edge_inference.errors import ModelError

TENSORRT = "tensorrt"
_EXPORT_HINT = "quantized with Q/DQ pairs of signed numbers around 0"


@dataclass(frozen=True)
class VariantChoice:
    """The file for an engine: ``variant``, or None for one that is derived from fp32.

    ``is_rewritten`` tells that the engine needs it in another form. ``reason`` is for the user;
    it is empty where there is nothing to say.
    """

    variant: Variant | None
    is_rewritten: bool = False
    reason: str = ""


def choose_variant(
    model: ModelDescription, precision: str, target: str, can_derive: bool
) -> VariantChoice:
    """Choose between a model's own file in a precision, and one derived from its fp32 variant.

    ``target`` is the kind of engine. The model has its own file in this precision. Raises
    ModelError where no file fits the engine.
    """
    variant = model.variants[precision]
    if target == TENSORRT and variant.tensorrt is not None:
        variant = variant.tensorrt
    found = look_at(variant.file)
    if found is None:
        return VariantChoice(variant)  # what opens the file says what is wrong with it
    key, name = f"variants.{variant.precision}", variant.file.name
    description = found.describe()
    if precision != "int8":
        note = f"{key}: {name} is quantized ({description}); name it as variants.int8 in model.yaml"
        return VariantChoice(variant, reason=note if found.computes_in_int8 else "")
    if not found.kind:
        note = f"{key}: {name} is not quantized; name it as variants.fp32 in model.yaml"
        if target != TENSORRT:
            return VariantChoice(variant, reason=note)
        obstacle, hint = "it is not quantized", "name it as variants.fp32 in model.yaml"
    elif target == TENSORRT:
        if found.fits_tensorrt:
            return VariantChoice(variant, reason=f"{name}: {description}")
        if found.changes:
            changed = " and ".join(found.changes)
            return VariantChoice(variant, True, f"{name} with {changed}")
        obstacle = "; ".join(found.obstacles)
        hint = (
            f"add an ONNX file {_EXPORT_HINT} as variants.int8.tensorrt, or an fp32 variant and "
            "a calibration"
        )
    elif found.onnxruntime_obstacles:
        obstacle = "; ".join(found.onnxruntime_obstacles)
        hint = "name it as variants.int8.tensorrt, and a file for ONNX Runtime as variants.int8"
    else:
        return VariantChoice(variant, reason=f"{name}: {description}")
    if can_derive and variant is model.variants[precision]:
        return VariantChoice(None, reason=f"derived from fp32, as {name} does not fit: {obstacle}")
    engine = "TensorRT" if target == TENSORRT else "ONNX Runtime"
    raise ModelError(f"model {model.name}: {key}: {name} does not fit {engine}: {obstacle}; {hint}")


def require_unquantized(source: Path, precision: str) -> None:
    """Raise ModelError for an fp32 file that is quantized: it would be quantized twice.

    fp16 can be derived of a file in which only the weights are quantized.
    """
    found = look_at(source)
    if found is None or not found.kind:
        return
    if found.computes_in_int8 or precision == "int8":
        raise ModelError(
            f"{source}: expected an fp32 network to derive {precision} from, got one that is "
            f"quantized already ({found.describe()}); name it as variants.int8 in model.yaml, and "
            "the fp32 export as variants.fp32"
        )

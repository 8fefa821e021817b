"""Names groups of layers that cost time for a known cause, and the option that mends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import command_argument
from edge_inference.observe.profiling.layer_profile import LayerProfile, LayerTime

_FLOATS = ("fp32", "fp16", "bf16", "fp64")
_INTEGERS = ("int64", "int32")
#: Operators that compute with lengths and positions instead of values.
_SHAPE_OPERATORS = frozenset(
    {
        "Shape", "Size", "Gather", "Concat", "Slice", "Unsqueeze", "Squeeze", "Range", "Add", "Sub",
        "Mul", "Div", "Cast", "ConstantOfShape", "Expand", "Equal", "Where", "ReduceProd",
    }
)  # fmt: skip
_NMS = ("NonMaxSuppression", "EfficientNMS", "BatchedNMS", "BatchedNMSDynamic")
_CONTROL_FLOW = ("If", "Loop", "Scan")
_SMALL_MS = 0.02


@dataclass(frozen=True)
class ProfiledEngine:
    """What was profiled: ``backend`` by name in ``precision``."""

    model: ModelDescription
    backend: str
    precision: str

    @property
    def name(self) -> str:
        """The model as an argument of a command."""
        return command_argument(self.model)

    @property
    def kept_fp32(self) -> bool:
        """Whether model.yaml keeps nodes in fp32 in this precision."""
        return bool(self.model.derive.keep_fp32(self.precision))


@dataclass(frozen=True)
class LayerAdvice:
    """Layers with one cause: ``title`` says which, ``action`` what to do."""

    title: str
    layers: tuple[str, ...]
    ms: float
    share: float
    action: str


@dataclass(frozen=True)
class _Rule:
    """``action`` returns None where nothing can be done. At least ``share`` of the inference."""

    title: str
    selects: Callable[[LayerTime, ProfiledEngine], bool]
    action: Callable[[ProfiledEngine, Sequence[LayerTime]], str | None]
    share: float
    count: int = 1


def advise(profile: LayerProfile, engine: ProfiledEngine) -> list[LayerAdvice]:
    """Return the advice for an engine, most time first."""
    found = [advice for rule in _RULES if (advice := _apply(rule, profile, engine)) is not None]
    small = _advise_small_layers(profile, engine)
    return sorted(found + ([small] if small else []), key=lambda advice: -advice.ms)


def _apply(rule: _Rule, profile: LayerProfile, engine: ProfiledEngine) -> LayerAdvice | None:
    layers = [layer for layer in profile.layers if rule.selects(layer, engine)]
    share = sum(layer.share for layer in layers)
    if len(layers) < rule.count or share < rule.share:
        return None
    action = rule.action(engine, layers)
    return None if action is None else _advice(rule.title, layers, share, action)


def _advice(title: str, layers: Sequence[LayerTime], share: float, action: str) -> LayerAdvice:
    names = tuple(layer.name for layer in sorted(layers, key=lambda layer: -layer.ms))
    return LayerAdvice(title, names, sum(layer.ms for layer in layers), share, action)


def _is_fp32_in_low_precision(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return (
        engine.precision in ("fp16", "int8")
        and layer.kind.weighted
        and layer.kind.precision in ("fp32", "tf32")
    )


def _mend_fp32(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    if engine.precision == "fp16" and engine.backend == "ort":
        return (
            "ONNX Runtime has few fp16 kernels for the CPU and computes these in fp32: use "
            "--precision fp32 or int8 on the CPU, and fp16 on a GPU"
        )
    if engine.kept_fp32:
        return (
            f"derive.{engine.precision}_keep_fp32 of model.yaml keeps nodes in fp32: remove those "
            f"that can be spared, and check the accuracy with edge-inference compare {engine.name}"
        )
    if engine.precision == "int8":
        return (
            "they are not quantized: make an int8 model from your images with edge-inference "
            f"quantize {engine.name} --calibration IMAGES --output FOLDER"
        )
    return (
        "the engine found no fp16 kernel for them, or the ONNX file keeps them in fp32: make an "
        f"fp16 model with edge-inference quantize {engine.name} --precision fp16 --output FOLDER"
    )


def _is_float_cast(layer: LayerTime, engine: ProfiledEngine) -> bool:
    kind = layer.kind
    return kind.operator == "Cast" and kind.precision in _FLOATS and kind.converts_to in _FLOATS


def _mend_casts(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    if engine.precision == "fp16" and engine.backend == "ort":
        return "fp16 is cast to fp32 and back on the CPU: use --precision fp32 or int8 there"
    if engine.kept_fp32:
        return (
            "each group of nodes in fp32 needs a cast on both sides: remove entries of "
            f"derive.{engine.precision}_keep_fp32 in model.yaml, or keep whole blocks by a pattern"
        )
    return "the ONNX file itself mixes types of numbers: export it in float32 throughout"


def _is_reorder(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return layer.kind.operator in ("ReorderInput", "ReorderOutput")


def _mend_reorders(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    if engine.precision == "fp16":
        return (
            "casts keep activations apart from their convolutions, so that the layout changes "
            "between them: use --precision fp32 or int8 on the CPU"
        )
    return None


def _is_reformat(layer: LayerTime, engine: ProfiledEngine) -> bool:
    kind = layer.kind
    return (
        engine.backend == "trt"
        and kind.precision not in _INTEGERS
        and (
            kind.operator.lower() in ("reformat", "cast", "copy")
            or "Reformatting CopyNode" in layer.name
        )
    )


def _mend_reformats(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    if engine.kept_fp32:
        return (
            "layers beside them compute in another precision: remove entries of "
            f"derive.{engine.precision}_keep_fp32 in model.yaml, or keep whole blocks by a pattern"
        )
    return (
        "layers beside them use other layouts: set engine.optimization_level to 5 in model.yaml, "
        "so that TensorRT searches longer for kernels that fit together"
    )


def _is_on_cpu_of_gpu(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return engine.backend == "ort-cuda" and (
        layer.kind.device == "CPU" or layer.kind.operator.startswith("Memcpy")
    )


def _mend_on_cpu(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    operators = dict.fromkeys(
        layer.kind.operator for layer in layers if not layer.kind.operator.startswith("Memcpy")
    )
    names = f" ({', '.join(operators)})" if operators else ""
    return (
        f"these operators{names} run on the CPU, with copies to and from the GPU: use --backend "
        "trt, or export the model without them"
    )


def _is_quantization(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return layer.kind.operator in ("QuantizeLinear", "DequantizeLinear")


def _mend_quantization(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    if engine.precision != "int8":
        return (
            "the file is quantized, but its pairs do not fit the kernels of this engine: name it "
            "as the int8 variant in model.yaml and use --precision int8"
        )
    return (
        "layers between them stay in fp32, and each border costs a conversion: keep whole blocks "
        f"on one side with edge-inference quantize {engine.name} --keep-fp32 PATTERN"
    )


def _is_transpose(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return layer.kind.operator == "Transpose" and not layer.kind.added


def _mend_transposes(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    return (
        "the exported graph changes the order of axes: export it in the order in which it computes "
        "(channels first; from TensorFlow with tf2onnx --inputs-as-nchw), with input.layout NCHW"
    )


def _is_nms(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return layer.kind.operator.removesuffix("_TRT") in _NMS


def _mend_nms(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    return (
        "the graph selects boxes itself: export it without NMS (nms=False with Ultralytics), and "
        "let the decoder in model.yaml do it"
    )


def _is_shape_operator(layer: LayerTime, engine: ProfiledEngine) -> bool:
    kind = layer.kind
    return kind.operator in ("Shape", "Size") or (
        kind.operator in _SHAPE_OPERATORS and kind.precision in _INTEGERS
    )


def _mend_shapes(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    return (
        "they compute lengths again for each image: export the model with a fixed input size "
        "(without dynamic axes), so that they are computed in advance"
    )


def _is_control_flow(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return layer.kind.operator in _CONTROL_FLOW


def _mend_control_flow(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    return (
        "engines cannot fuse across If, Loop and Scan: export the model by tracing, with fixed "
        "sizes, so that they disappear"
    )


def _is_double(layer: LayerTime, engine: ProfiledEngine) -> bool:
    return layer.kind.precision == "fp64" or layer.kind.converts_to == "fp64"


def _mend_double(engine: ProfiledEngine, layers: Sequence[LayerTime]) -> str | None:
    return "64-bit numbers take twice the time and memory: export the model in float32"


def _advise_small_layers(profile: LayerProfile, engine: ProfiledEngine) -> LayerAdvice | None:
    """Return advice where starting layers takes longer than computing them."""
    small = [layer for layer in profile.layers if layer.ms < _SMALL_MS]
    between_ms = max(0.0, profile.run_ms - profile.layers_ms)
    lost_ms = between_ms + sum(layer.ms for layer in small)
    share = lost_ms / profile.run_ms if profile.run_ms else 0.0
    if len(small) * 2 < len(profile.layers) or len(small) < 10 or share < 0.3:
        return None
    if engine.backend == "trt":
        action = (
            "starting them takes longer than computing them: leave cuda_graph on in the inference "
            "node, which starts all at once (a profile is measured without it), or set "
            "engine.batch to infer several images at a time"
        )
    elif engine.backend == "ort-cuda":
        action = (
            "starting them takes longer than computing them: use --backend trt, which fuses them "
            "and starts all at once"
        )
    else:
        action = (
            "starting them takes longer than computing them: simplify the file, for example with "
            "onnxsim, so that constants are folded and fewer layers remain"
        )
    advice = _advice("many small layers", small, share, action)
    return LayerAdvice(advice.title, advice.layers, lost_ms, share, action)


_RULES = (
    _Rule("layers with weights in fp32", _is_fp32_in_low_precision, _mend_fp32, 0.02),
    _Rule("casts", _is_float_cast, _mend_casts, 0.01),
    _Rule("changes of layout", _is_reorder, _mend_reorders, 0.02),
    _Rule("copies between layouts or precisions", _is_reformat, _mend_reformats, 0.02),
    _Rule("layers outside of the GPU", _is_on_cpu_of_gpu, _mend_on_cpu, 0.01),
    _Rule("quantization left between layers", _is_quantization, _mend_quantization, 0.02, 3),
    _Rule("transposes", _is_transpose, _mend_transposes, 0.03),
    _Rule("selection of boxes", _is_nms, _mend_nms, 0.02),
    _Rule("arithmetic on shapes", _is_shape_operator, _mend_shapes, 0.02),
    _Rule("control flow", _is_control_flow, _mend_control_flow, 0.02),
    _Rule("64-bit numbers", _is_double, _mend_double, 0.01),
)

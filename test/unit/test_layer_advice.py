"""Each advice appears for the layers that it is for, and for no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.variants import Derivation
from edge_inference.observe.profiling.layer_advice import LayerAdvice, ProfiledEngine, advise
from edge_inference.observe.profiling.layer_profile import LayerKind, LayerProfile, LayerTime
from small_model import write_model

#: The whole inference in milliseconds.
RUN_MS = 100.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_model(write_model(tmp_path_factory.mktemp("models") / "small"))


def layer(operator: str, ms: float, precision: str = "fp32", **how: Any) -> LayerTime:
    name = how.pop("name", f"{operator}_{ms:g}")
    weighted = operator in ("Conv", "MatMul", "CaskConvolution", "QLinearConv")
    kind = LayerKind(name, operator, precision, weighted=weighted, **how)
    return LayerTime(kind, ms, ms / RUN_MS)


def find(
    model: ModelDescription,
    layers: list[LayerTime],
    *,
    backend: str = "ort",
    precision: str = "fp32",
    keep: tuple[str, ...] = (),
) -> dict[str, LayerAdvice]:
    """Return the advice by title; the rest of the inference is one large layer."""
    rest = RUN_MS - sum(each.ms for each in layers)
    large = layer("MaxPool", rest, name="rest", device="GPU" if backend != "ort" else "CPU")
    if keep:
        derive = Derivation(int8_keep_fp32=keep, fp16_keep_fp32=keep)
        model = replace(model, derive=derive)
    profile = LayerProfile("a test", 2, 1, RUN_MS, (large, *layers))
    engine = ProfiledEngine(model, backend, precision)
    return {advice.title: advice for advice in advise(profile, engine)}


FP32 = "layers with weights in fp32"
CASTS = "casts"
LAYOUT = "changes of layout"
COPIES = "copies between layouts or precisions"
OUTSIDE = "layers outside of the GPU"
QUANTIZATION = "quantization left between layers"
TRANSPOSES = "transposes"
BOXES = "selection of boxes"
SHAPES = "arithmetic on shapes"
CONTROL = "control flow"
DOUBLE = "64-bit numbers"
SMALL = "many small layers"

CAST = layer("Cast", 5, converts_to="fp16")
BORDERS = [layer("QuantizeLinear", 1, converts_to="int8"), layer("DequantizeLinear", 2)]
MANY_SMALL = [layer("Relu", 0.01, name=f"relu_{n}") for n in range(40)]


@pytest.mark.parametrize(
    ("layers", "how", "title", "text"),
    [
        ([layer("Conv", 9)], {"precision": "fp16"}, FP32, "--precision fp32 or int8 on the CPU"),
        ([layer("Conv", 9)], {"precision": "int8"}, FP32, "edge-inference quantize"),
        (
            [layer("Conv", 9)],
            {"precision": "int8", "keep": ("conv_1",)},
            FP32,
            "derive.int8_keep_fp32",
        ),
        (
            [layer("CaskConvolution", 9, "tf32")],
            {"precision": "fp16", "backend": "trt", "keep": ("conv_1",)},
            FP32,
            "derive.fp16_keep_fp32",
        ),
        (
            [layer("CaskConvolution", 9)],
            {"precision": "fp16", "backend": "trt"},
            FP32,
            "--precision fp16 --output",
        ),
        ([CAST], {"precision": "fp16"}, CASTS, "--precision fp32 or int8"),
        ([CAST], {}, CASTS, "export it in float32"),
        ([CAST], {"precision": "int8", "keep": ("a",)}, CASTS, "derive.int8_keep_fp32"),
        ([layer("ReorderOutput", 3)], {"precision": "fp16"}, LAYOUT, "--precision fp32"),
        (
            [layer("Reformat", 3, name="Reformatting CopyNode for Input")],
            {"backend": "trt", "precision": "fp16"},
            COPIES,
            "engine.optimization_level",
        ),
        (
            [layer("unknown", 3, name="Reformatting CopyNode for Input Tensor 0")],
            {"backend": "trt", "precision": "int8", "keep": ("a",)},
            COPIES,
            "derive.int8_keep_fp32",
        ),
        (
            [layer("NonZero", 2, device="CPU"), layer("MemcpyToHost", 2, device="CUDA")],
            {"backend": "ort-cuda"},
            OUTSIDE,
            "(NonZero) run on the CPU",
        ),
        ([*BORDERS, BORDERS[0]], {"precision": "int8"}, QUANTIZATION, "--keep-fp32 PATTERN"),
        ([*BORDERS, BORDERS[0]], {}, QUANTIZATION, "--precision int8"),
        ([layer("Transpose", 4)], {}, TRANSPOSES, "input.layout NCHW"),
        ([layer("NonMaxSuppression", 4)], {}, BOXES, "without NMS"),
        ([layer("EfficientNMS_TRT", 4)], {"backend": "trt"}, BOXES, "without NMS"),
        ([layer("Gather", 4, "int64"), layer("Shape", 1, "fp32")], {}, SHAPES, "fixed input size"),
        ([layer("Loop", 4, "int64")], {}, CONTROL, "tracing"),
        ([layer("Mul", 4, "fp64")], {}, DOUBLE, "float32"),
        ([layer("Cast", 4, converts_to="fp64")], {}, DOUBLE, "float32"),
    ],
)
def test_layers_with_a_cause_get_its_advice(
    model: ModelDescription, layers: list[LayerTime], how: Any, title: str, text: str
) -> None:
    advice = find(model, layers, **how)[title]
    assert text in advice.action
    assert advice.ms == pytest.approx(sum(each.ms for each in layers))
    assert advice.share == pytest.approx(sum(each.ms for each in layers) / RUN_MS)
    assert set(advice.layers) == {each.name for each in layers}


@pytest.mark.parametrize(
    ("layers", "how"),
    [
        ([layer("Conv", 90)], {}),  # fp32 was requested
        ([layer("QLinearConv", 90, "int8")], {"precision": "int8"}),
        ([layer("Conv", 1.9)], {"precision": "int8"}),  # too little
        ([layer("Softmax", 9)], {"precision": "int8"}),  # without weights
        ([layer("Cast", 9, "int64", converts_to="int32")], {"backend": "trt"}),
        ([layer("ReorderOutput", 9)], {}),  # nothing helps
        (BORDERS, {"precision": "int8"}),  # one at the input, one at the output
        ([layer("Transpose", 2)], {}),
        ([layer("Transpose", 9, added=True)], {"precision": "int8"}),
        ([layer("Gather", 9)], {}),  # of values
        ([layer("Concat", 9)], {}),
        ([layer("TopK", 9)], {}),
        ([layer("Conv", 9, device="CUDA")], {"backend": "ort-cuda"}),
    ],
)
def test_other_layers_get_none(model: ModelDescription, layers: list[LayerTime], how: Any) -> None:
    assert {title for title in find(model, layers, **how) if title != SHAPES} == set()


def test_an_integer_cast_is_arithmetic_on_shapes(model: ModelDescription) -> None:
    assert set(find(model, [layer("Cast", 9, "int64", converts_to="int32")])) == {SHAPES}


@pytest.mark.parametrize(
    ("backend", "text"), [("trt", "cuda_graph"), ("ort-cuda", "--backend trt"), ("ort", "onnxsim")]
)
def test_time_between_many_small_layers(model: ModelDescription, backend: str, text: str) -> None:
    profile = LayerProfile("a test", 2, 1, 10.0, tuple(MANY_SMALL))
    (advice,) = advise(profile, ProfiledEngine(model, backend, "fp32"))
    assert advice.title == SMALL
    assert advice.ms == pytest.approx(10.0)
    assert text in advice.action


def test_small_layers_beside_large_ones_are_no_cause(model: ModelDescription) -> None:
    large = layer("Conv", 9.6)
    profile = LayerProfile("a test", 2, 1, 10.0, (*MANY_SMALL, large))
    assert advise(profile, ProfiledEngine(model, "trt", "fp32")) == []


def test_a_few_small_layers_do_not_explain_the_time_between_layers(
    model: ModelDescription,
) -> None:
    large = [layer("Softmax", 0.1, name=f"softmax_{n}") for n in range(20)]
    profile = LayerProfile("a test", 2, 1, 10.0, (*MANY_SMALL[:15], *large))
    assert advise(profile, ProfiledEngine(model, "trt", "fp32")) == []


def test_the_advice_with_most_time_comes_first(model: ModelDescription) -> None:
    found = find(model, [layer("Transpose", 4), layer("NonMaxSuppression", 9), layer("If", 5)])
    assert list(found) == [BOXES, CONTROL, TRANSPOSES]

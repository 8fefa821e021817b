"""The precision of layers, from the inspector's JSON in the formats of several releases."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge_inference.backends.trt.layers import (
    LayerPrecision,
    count_precisions,
    inspect_layers,
    main_precision,
    parse_layers,
    precision_of_type,
)
from edge_inference.errors import BackendError


def _tensor(words: str, field: str = "Format/Datatype") -> dict[str, Any]:
    return {"Name": "t", "Dimensions": [1, 8, 4, 4], field: words}


def _conv(weights: str, ends: str, **more: Any) -> dict[str, Any]:
    return {
        "Name": "conv",
        "LayerType": "CaskConvolution",
        "Inputs": [_tensor(ends)],
        "Outputs": [_tensor(ends)],
        "Weights": {"Type": weights, "Count": 864},
        **more,
    }


def _read(*layers: Any) -> tuple[LayerPrecision, ...]:
    return parse_layers(json.dumps({"Layers": list(layers), "Bindings": ["x"]}))


TENSORRT_8 = [
    {
        "Name": "Reformatting CopyNode for Input Tensor 0 to conv",
        "LayerType": "Reformat",
        "Inputs": [_tensor("Row major linear FP32")],
        "Outputs": [_tensor("Four wide channel vectorized row major Int8 format")],
        "ParameterType": "Reformat",
    },
    _conv("Int8", "Thirty-two wide channel vectorized row major Int8 format"),
    _conv("Half", "Channel major FP16 format where channel % 8 == 0"),
    {
        "Name": "pool",
        "LayerType": "TiledPooling",
        "Inputs": [_tensor("Row major linear FP32")],
        "Outputs": [_tensor("Row major linear FP32")],
    },
]
TENSORRT_10 = [
    {
        "Name": "__myl_MulAdd_myl0_0",
        "LayerType": "kgen",
        "Inputs": [_tensor("Int32"), _tensor("Half")],
        "Outputs": [_tensor("Half")],
        "TacticName": "__myl_MulAdd_0x1",
        "Metadata": "[ONNX Layer: add]",
    },
    {
        "Name": "matmul_myl0_1",
        "LayerType": "gemm",
        "Inputs": [_tensor("Float"), _tensor("Float")],
        "Outputs": [_tensor("Float")],
        "TacticName": "sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize32x32x64",
    },
]
TENSORRT_11 = [
    {
        "Name": "conv",
        "LayerType": "conv",
        "Inputs": [{**_tensor("BFloat16", "Datatype"), "Format": "Row major linear"}],
        "Outputs": [{**_tensor("BFloat16", "Datatype"), "Format": "Row major linear"}],
    },
]


@pytest.mark.parametrize(
    ("layers", "counts"),
    [
        ([], {}),
        (TENSORRT_8, {"int8": 1, "fp16": 1, "fp32": 1}),
        (TENSORRT_10, {"fp16": 1, "tf32": 1}),
        (TENSORRT_11, {"bf16": 1}),
    ],
)
def test_counts(layers: list[Any], counts: dict[str, int]) -> None:
    assert count_precisions(_read(*layers)) == counts


def test_the_type_of_the_weights_has_priority() -> None:
    assert _read(_conv("Int8", "Row major linear FP32"))[0].precision == "int8"


def test_layers_that_move_do_not_count() -> None:
    found = _read(*TENSORRT_8)
    assert [entry.computes for entry in found] == [False, True, True, True]
    assert [entry.weighted for entry in found] == [False, True, True, False]


def test_tf32_is_a_precision_of_its_own() -> None:
    tactic = "sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc"
    assert _read(_conv("Float", "Channel major FP32 format", TacticName=tactic))[0].precision == (
        "tf32"
    )


def test_shapes_of_dynamic_engines_hide_formats() -> None:
    layer = {"Name": "l", "LayerType": "PointWiseV2", "Inputs": [_tensor("N/A due to dynamic")]}
    assert _read(layer)[0].precision == "unknown"


def test_names_only() -> None:
    found = _read("conv1 + relu1", "pool")
    assert [entry.name for entry in found] == ["conv1 + relu1", "pool"]
    assert count_precisions(found) == {"unknown": 2}
    assert main_precision(found) is None


@pytest.mark.parametrize(
    ("layers", "precision"),
    [
        ([], None),
        ([*TENSORRT_8, _conv("Int8", "Int8")], "int8"),
        # Layers with weights decide, even if the others are more.
        ([TENSORRT_8[3], TENSORRT_8[3], _conv("Half", "Half")], "fp16"),
        (TENSORRT_11, "bf16"),
    ],
)
def test_main_precision(layers: list[Any], precision: str | None) -> None:
    assert main_precision(_read(*layers)) == precision


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        ("", "unknown"),
        ("Row major linear BFloat16 format", "bf16"),
        ("Row major linear UInt8 format", "uint8"),
        ("Row major linear Int64 format", "int64"),
        ("FP8E4M3", "fp8"),
        ("BOOL", "bool"),
        ("HALF", "fp16"),
    ],
)
def test_types(words: str, precision: str) -> None:
    assert precision_of_type(words) == precision


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 1}', '{"Layers": [', "null"])
def test_invalid_json(text: str) -> None:
    with pytest.raises(BackendError, match="the engine inspector"):
        parse_layers(text)


@pytest.mark.parametrize(
    "layer", [{}, {"Inputs": "x"}, {"Inputs": [1], "Weights": 3}, {"Weights": {}}, 7, None]
)
def test_layers_of_unknown_format_are_unknown(layer: Any) -> None:
    assert _read(layer)[0].precision == "unknown"


def test_the_inspector_returns_json() -> None:
    class Inspector:
        def get_engine_information(self, form: str) -> str:
            return json.dumps({"Layers": [form]})

    class Engine:
        def create_engine_inspector(self) -> Inspector:
            return Inspector()

    class Module:
        class LayerInformationFormat:
            JSON = "as JSON"

    assert inspect_layers(Module, Engine())[0].name == "as JSON"

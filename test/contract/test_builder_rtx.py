"""The builder with the real TensorRT-RTX, which also builds on machines without a GPU."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import gpu_kit
from edge_inference.backends.trt.layers import main_precision
from edge_inference.backends.trt.metadata import read_sidecar, verify_plan
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.models.model_search import find_model
from edge_inference.core.settings import build
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.build_progress import BuildProgress
from edge_inference.engines.build.builder import BuiltEngine, build_engine, write_engine
from edge_inference.engines.build.model_options import build_options
from edge_inference.engines.precision.derive import derive_model
from edge_inference.errors import BackendError, CancelledError
from input_kinds import HEIGHT, WIDTH, write_classifier
from shared import derived_model_of

ROOT = Path(__file__).parents[2]
MODELS = ("efficientnet_lite0", "nanodet")
FLOAT = TensorProto.FLOAT


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return gpu_kit.tensorrt_rtx()


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> ModelDescription:
    return find_model(request.param, [ROOT / "models"])


def _make(vendor: Vendor, file: Path, how: dict[str, Any] | None = None, **options: Any) -> Any:
    return build_engine(file, build(BuildOptions, options), vendor=vendor, **(how or {}))


def _batch(model: ModelDescription) -> list[int]:
    return [1, 2, 4] if model.name == "efficientnet_lite0" else []


def _convolution(
    file: Path,
    *,
    batch: int | str = 1,
    precision: str = "fp32",
    last: helper.NodeProto | None = None,
    **saving: Any,
) -> Path:
    """Write a convolution, and a node ``last`` from its ``y`` to ``z``."""
    number = np.float16 if precision == "fp16" else np.float32
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(number))
    rng = np.random.default_rng(0)
    constants = [numpy_helper.from_array(rng.random((8, 3, 3, 3)).astype(number), "w")]
    nodes, image, weights = [], "x", "w"
    if precision == "int8":
        constants += [
            numpy_helper.from_array(np.array(0.02, number), "s"),
            numpy_helper.from_array(np.array(0, np.int8), "o"),
        ]
        for name in ("x", "w"):
            nodes += [
                helper.make_node("QuantizeLinear", [name, "s", "o"], [f"{name}q"], f"{name}_q"),
                helper.make_node("DequantizeLinear", [f"{name}q", "s", "o"], [f"{name}d"]),
            ]
        image, weights = "xd", "wd"
    nodes.append(helper.make_node("Conv", [image, weights], ["y"], "conv", pads=[1] * 4))
    nodes.append(last or helper.make_node("Relu", ["y"], ["z"], "last"))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", kind, [batch, 3, 16, 16])],
        [helper.make_tensor_value_info("z", kind, [batch, 8, 16, 16])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom.ops", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file, **saving)
    return file


@pytest.mark.parametrize(
    ("options", "profiles"),
    [
        ({"layout": "CHW"}, {"image": (3, HEIGHT, WIDTH)}),
        ({"layout": "HWC", "dtype": "uint8"}, {"image": (HEIGHT, WIDTH, 3)}),
        ({"batch": 4, "input": {"batch": 4}}, {"image": (4, 3, HEIGHT, WIDTH)}),
        ({"batch": "n", "dtype": "int64"}, {"image": (1, 3, HEIGHT, WIDTH)}),
        (
            {"channels": 6, "input": {"color": "MULTI", "channel_count": 6}},
            {"image": (1, 6, HEIGHT, WIDTH)},
        ),
        (
            {"extra": {"size": ("int64", ["n", 2])}, "extra_inputs": {"size": [[3, 4]]}},
            {"image": (1, 3, HEIGHT, WIDTH), "size": (1, 2)},
        ),
    ],
)
def test_models_of_other_inputs(
    vendor: Vendor, tmp_path: Path, options: dict[str, Any], profiles: dict[str, tuple[int, ...]]
) -> None:
    model = load_model(write_classifier(tmp_path / "model", **options))
    built = build_engine(
        model.variants["fp32"].file,
        build_options(model, "fp32"),
        vendor=vendor,
        fixed_inputs=model.extra_inputs,
    )
    assert built.metadata.profiles == {name: (size,) * 3 for name, size in profiles.items()}


def test_an_input_that_holds_a_shape_has_its_value(vendor: Vendor, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Resize", ["image", "", "", "size"], ["large"], mode="linear"),
        helper.make_node("GlobalAveragePool", ["large"], ["mean"]),
    ]
    inputs = [
        helper.make_tensor_value_info("image", FLOAT, [1, 3, 8, 8]),
        helper.make_tensor_value_info("size", TensorProto.INT64, [4]),
    ]
    outputs = [helper.make_tensor_value_info("mean", FLOAT, [1, 3, 1, 1])]
    graph = helper.make_graph(nodes, "sized", inputs, outputs)
    opsets = [helper.make_opsetid("", 13)]
    file = tmp_path / "sized.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    size = (1, 3, 16, 24)
    built = _make(vendor, file, {"fixed_inputs": {"size": np.array(size)}})
    assert built.metadata.profiles == {"size": (size,) * 3}
    with pytest.raises(BackendError, match=r"its value in extra_inputs of model\.yaml"):
        _make(vendor, file)


def test_shipped_models_in_fp32(vendor: Vendor, model: ModelDescription, tmp_path: Path) -> None:
    reports: list[BuildProgress] = []
    variant = model.variants["fp32"]
    how = {"progress": reports.append, "model": model.name}
    built = _make(vendor, variant.file, how, batch=_batch(model))
    fractions = [progress.fraction for progress in reports]
    assert None not in fractions
    assert fractions == sorted(fractions)  # type: ignore[type-var]
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert main_precision(built.layers) == "fp32"
    metadata = read_sidecar(write_engine(built, tmp_path / "engine.plan"))
    assert verify_plan(tmp_path / "engine.plan", metadata) == built.plan
    assert metadata.onnx_sha256 == variant.sha256
    assert metadata.hardware == "ampere_plus"
    assert metadata.inputs[model.input.name][2:] == tuple(model.input.shape[1:])


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_shipped_models_in_other_precisions(
    vendor: Vendor, model: ModelDescription, precision: str
) -> None:
    derived = derived_model_of(model, precision, "tensorrt")
    built = _make(vendor, derived, precision=precision, batch=_batch(model))
    assert main_precision(built.layers) == precision


def test_shipped_models_in_int8_with_the_rest_in_fp16(
    vendor: Vendor, model: ModelDescription, tmp_path: Path
) -> None:
    mixed = dataclasses.replace(model, derive=dataclasses.replace(model.derive, int8_rest="fp16"))
    derived = tmp_path / "mixed.onnx"
    derive_model(mixed, "int8", "tensorrt", derived)
    built = _make(vendor, derived, precision="int8", batch=_batch(model))
    assert {layer.precision for layer in built.layers if layer.computes} == {"int8", "fp16"}
    assert main_precision(built.layers) == "int8"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_precision(vendor: Vendor, tmp_path: Path, precision: str) -> None:
    file = _convolution(tmp_path / "tiny.onnx", precision=precision)
    built = _make(vendor, file, precision=precision)
    assert built.plan
    assert {e.name: e.precision for e in built.layers}["conv"] == precision
    assert built.layer_source == "network"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_fp32_onnx_is_refused_for_another_precision(
    vendor: Vendor, model: ModelDescription, precision: str
) -> None:
    """The shipped files store fp16 weights and compute in fp32."""
    with pytest.raises(BackendError, match=f"expected an {precision} ONNX"):
        _make(vendor, model.variants["fp32"].file, precision=precision, batch=_batch(model))


def test_dynamic_batch(vendor: Vendor, tmp_path: Path) -> None:
    file = _convolution(tmp_path / "tiny.onnx", batch="batch")
    with pytest.raises(BackendError, match=r"input 'x': axis 0 \(batch\) is dynamic"):
        _make(vendor, file)
    by_batch = _make(vendor, file, batch=[1, 2, 4])
    by_profile = _make(vendor, file, profiles=["x:1x3x16x16,2x3x16x16,4x3x16x16"])
    assert by_batch.metadata.profiles == by_profile.metadata.profiles
    with pytest.raises(BackendError, match="axis 2 is fixed at 16"):
        _make(vendor, file, profiles=["x:1x3x17x16"])


def test_input_that_holds_a_shape(vendor: Vendor, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["y"]),
        helper.make_node("Relu", ["y"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "reshape",
        [
            helper.make_tensor_value_info("x", FLOAT, [4, 6]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("z", FLOAT, ["a", "b"])],
    )
    file = tmp_path / "reshape.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    with pytest.raises(BackendError, match="'shape' holds the shape of another tensor"):
        _make(vendor, file)
    assert _make(vendor, file, profiles=["shape:2x3,4x6,8x12"]).plan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"typing": "flags"}, "set typing to 'onnx'"),
        ({"device": "dla0", "precision": "fp16"}, "finds no DLA cores"),
        ({"targets": ["8.7"]}, "builds for 7.5, 8.0, 8.6"),
        ({"version_compatible": True}, "set exclude_lean_runtime"),
    ],
)
def test_unsupported_options(
    vendor: Vendor, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(BackendError) as caught:
        _make(vendor, _convolution(tmp_path / "tiny.onnx"), **options)
    assert words in str(caught.value)


def test_supported_options(vendor: Vendor, tmp_path: Path) -> None:
    built = _make(
        vendor,
        _convolution(tmp_path / "tiny.onnx"),
        targets=["8.6", "12.0"],
        workspace_mib=64,
        optimization_level=0,
        tf32=False,
        sparse_weights=True,
    )
    assert (built.metadata.hardware, built.metadata.targets) == ("listed", ("8.6", "12.0"))
    assert _make(vendor, tmp_path / "tiny.onnx", hardware="ampere_plus").plan


def _broken(kind: str, folder: Path) -> Path:
    file = folder / "broken.onnx"
    if kind == "unknown operator":
        last = helper.make_node("Wobble", ["y"], ["z"], "last", domain="custom.ops")
        return _convolution(file, last=last)
    if kind == "external weights":
        external = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
        _convolution(file, **external)
        (folder / "weights.bin").unlink()
        return file
    whole = _convolution(file).read_bytes()
    file.write_bytes({"cut off": whole[:500], "empty": b"", "no model": b"hello " * 40}[kind])
    return file


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "unknown operator",
            "its node 'last' (Wobble) is a custom operator of",
        ),
        ("external weights", "weights.bin: no such file; it has the weights of broken.onnx"),
        ("cut off", "got the first 500: it was cut off"),
        ("empty", "got an empty file"),
        ("no model", "got text, 'hello hello"),
    ],
)
def test_broken_files(vendor: Vendor, tmp_path: Path, kind: str, words: str) -> None:
    with pytest.raises(BackendError) as caught:
        _make(vendor, _broken(kind, tmp_path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_build_can_be_cancelled(vendor: Vendor, tmp_path: Path) -> None:
    reports: list[BuildProgress] = []
    how = {
        "progress": reports.append,
        "cancelled": lambda: len(reports) > 20,
        "timing_cache": tmp_path / "cache",
    }
    with pytest.raises(CancelledError):
        _make(vendor, find_model("nanodet", [ROOT / "models"]).variants["fp32"].file, how)
    assert reports[-1].phase != "done"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_a_timing_cache_is_ignored(vendor: Vendor, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(b"no timing cache at all" * 9)
    built: BuiltEngine = _make(
        vendor, _convolution(tmp_path / "tiny.onnx"), {"timing_cache": cache}
    )
    assert built.plan
    assert len(built.notes) == 1


def test_two_concurrent_builds(vendor: Vendor, tmp_path: Path) -> None:
    file = _convolution(tmp_path / "tiny.onnx")
    plans: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: plans.append(_make(vendor, file).plan)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plans) == 2


INTERRUPTED = """
import sys
from pathlib import Path
from edge_inference.backends.trt.vendor import import_tensorrt
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine

def tell(progress):
    if progress.fraction > 0.1:
        print("building", flush=True)
        sys.stdin.read()  # the interrupt comes meanwhile

build_engine(Path(sys.argv[1]), BuildOptions(), vendor=import_tensorrt(), progress=tell)
"""


def test_ctrl_c_cancels_a_build(vendor: Vendor) -> None:
    file = find_model("nanodet", [ROOT / "models"]).variants["fp32"].file
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "building\n"
    child.send_signal(signal.SIGINT)
    _, complaints = child.communicate(timeout=60)
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert child.returncode == -signal.SIGINT

"""What replaces ONNX Runtime's own operators computes what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.engines.public_graph.all_ones import remove_mask
from edge_inference.engines.public_graph.branches import keep_outputs, split_branches
from edge_inference.engines.public_graph.ort_file import read_model
from edge_inference.engines.public_graph.public_ops import make_public
from edge_inference.engines.public_graph.recogniser import profiles_of, public_graph
from edge_inference.engines.public_graph.settled import settle
from edge_inference.errors import ModelError

OWN = "com.microsoft"
RNG = np.random.default_rng(4)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
#: Numbers that 8 bits hold exactly: what quantises on the way loses nothing of them.
WHOLE = RNG.permutation(256).reshape(2, 8, 16).astype(np.float32)
WEIGHTS = RNG.integers(0, 255, (16, 5)).astype(np.uint8)
PLAIN = RNG.normal(size=(2, 3, 4, 6)).astype(np.float32)


def made(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[Any]],
    outputs: dict[str, Sequence[Any]],
    opset: int = 18,
    kinds: dict[str, int] | None = None,
    **constants: np.ndarray,
) -> onnx.ModelProto:
    """Return a model; inputs and outputs are float32 unless ``kinds`` says otherwise."""

    def told(entries: dict[str, Sequence[Any]]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, (kinds or {}).get(name, FLOAT), shape)
            for name, shape in entries.items()
        ]

    graph = helper.make_graph(
        nodes,
        "tiny",
        told(inputs),
        told(outputs),
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(OWN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def kinds_of(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def own(kind: str, inputs: Sequence[str], outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs.split(), f"the {kind}", domain=OWN, **attributes)


def check_the_same(model: onnx.ModelProto, tolerance: float = 1e-5, **inputs: np.ndarray) -> None:
    wanted = run(model, **inputs)
    make_public(model)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    for name, value in run(model, **inputs).items():
        assert value.shape == wanted[name].shape
        assert value == pytest.approx(wanted[name], rel=tolerance, abs=tolerance), name


@pytest.mark.parametrize(
    ("turned", "alpha"), [((0, 0), 1.0), ((0, 1), 0.25), ((1, 0), 2.0), ((1, 1), 1.0)]
)
def test_fused_product(turned: tuple[int, int], alpha: float) -> None:
    node = own("FusedMatMul", ["a", "b"], transA=turned[0], transB=turned[1], alpha=alpha)
    left, right = ([2, 3, 6, 4] if turned[0] else [2, 3, 4, 6]), ([5, 6] if turned[1] else [6, 5])
    values = {
        name: RNG.normal(size=s).astype(np.float32) for name, s in (("a", left), ("b", right))
    }
    model = made([node], {"a": [None] * 4, "b": [None] * 2}, {"y": [None] * 4})
    check_the_same(model, **values)


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        (own("Gelu", ["x"]), {}),
        (own("BiasGelu", ["x", "b"]), {"b": PLAIN[0, 0, 0]}),
        (own("QuickGelu", ["x"]), {}),
        (own("QuickGelu", ["x"], alpha=1.0), {}),
    ],
    ids=lambda given: getattr(given, "op_type", ""),
)
def test_activations(node: onnx.NodeProto, constants: dict[str, np.ndarray]) -> None:
    check_the_same(made([node], {"x": [None] * 4}, {"y": [None] * 4}, **constants), 1e-4, x=PLAIN)


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Tanh"])
@pytest.mark.parametrize("inputs", [["x", "w"], ["x", "w", "b"]])
def test_fused_convolution(activation: str, inputs: list[str]) -> None:
    node = own("FusedConv", inputs, activation=activation, strides=[2, 1], pads=[1, 0, 1, 0])
    constants = {"w": PLAIN[:, :, :3, :3].copy(), "b": np.array([0.5, -2.0], np.float32)}
    constants = {name: constants[name] for name in inputs[1:]}
    check_the_same(made([node], {"x": [None, 3, 4, 6]}, {"y": [None] * 4}, **constants), x=PLAIN)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        (["x", "s", "g"], "y"),
        (["x", "s", "g", "h"], "y"),
        (["x", "s", "g", "h", "b"], "y"),
        (["x", "s", "g", "h"], "y   sum"),
    ],
)
def test_normalised_sum(inputs: list[str], outputs: str) -> None:
    node = own("SkipLayerNormalization", inputs, epsilon=1e-5)
    node.output[:] = outputs.split(" ")
    constants = {name: RNG.normal(size=6).astype(np.float32) for name in inputs[2:]}
    model = made(
        [node],
        {"x": [None, None, 6], "s": [None, None, 6]},
        {name: [None, None, 6] for name in outputs.split()},
        **constants,
    )
    check_the_same(model, 1e-4, x=PLAIN[0], s=PLAIN[1])


@pytest.mark.parametrize("columns", [(), (5,)], ids=["one scale", "a scale for each column"])
@pytest.mark.parametrize("bias", ["", "bias"])
@pytest.mark.parametrize("kind", ["DynamicQuantizeMatMul", "MatMulIntegerToFloat"])
def test_integer_products(kind: str, bias: str, columns: tuple[int, ...]) -> None:
    quantise = helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"], "quantise")
    if kind == "DynamicQuantizeMatMul":
        nodes = [own(kind, ["x", "w", "s", "z", bias])]
    else:
        nodes = [quantise, own(kind, ["q", "w", "qs", "s", "qz", "z", bias])]
    constants = {
        "w": WEIGHTS,
        "s": RNG.uniform(0.001, 0.01, columns).astype(np.float32),
        "z": np.full(columns, 120, np.uint8),
        "bias": np.arange(5, dtype=np.float32),
    }
    if not bias:
        del constants["bias"]
    model = made(nodes, {"x": [None, None, 16]}, {"y": [None, None, 5]}, **constants)
    check_the_same(model, 1e-4, x=WHOLE)
    assert kinds_of(model) == (["MatMul", "Add"] if bias else ["MatMul"])


def test_rows_of_a_table_in_8_bits() -> None:
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["row"], "gather"),
        helper.make_node("DequantizeLinear", ["row", "s", "z"], ["y"], "a"),
        helper.make_node("DequantizeLinear", ["row", "s", "z"], ["again"], "b"),
    ]
    model = made(
        nodes,
        {"ids": [None, None]},
        {"y": [None, None, 5], "again": [None, None, 5]},
        kinds={"ids": INT64},
        w=WEIGHTS,
        s=np.array(0.25, np.float32),
        z=np.array(3, np.uint8),
    )
    check_the_same(model, ids=np.array([[0, 15, 3]]))
    assert kinds_of(model) == ["Gather", "Gather"]
    assert len(model.graph.initializer) == 1


@pytest.mark.parametrize(
    ("node", "complaint"),
    [
        (own("Inverse", ["x"]), r"node 'the Inverse' is com\.microsoft\.Inverse"),
        (own("FusedMatMul", ["x", "x"], transBatchA=1, transBatchB=1), "transposes batches"),
        (
            own("FusedConv", ["x", "x"], activation="LeakyRelu", activation_params=[0.1]),
            "LeakyRelu behind it is not known; known: Relu, Sigmoid, Tanh",
        ),
        (helper.make_node("MatMulInteger", ["i", "i"], ["y"], "n"), "is MatMulInteger, which"),
    ],
    ids=lambda given: getattr(given, "op_type", ""),
)
def test_what_is_not_known_is_refused(node: onnx.NodeProto, complaint: str) -> None:
    cast = helper.make_node("Cast", ["x"], ["i"], "cast", to=TensorProto.INT8)
    kinds = {"y": TensorProto.INT32} if node.op_type == "MatMulInteger" else {}
    model = made([cast, node], {"x": [2, 2, 2, 2]}, {"y": [None] * 4}, kinds=kinds)
    with pytest.raises(ModelError, match=complaint):
        make_public(model)


def constant(**values: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.int64) for name, value in values.items()}


def test_known_sizes_become_constants_and_open_ones_stay() -> None:
    """Half of the last axis, which is known, of a tensor whose first axis is open."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "last"], ["width"], "width"),
        helper.make_node("Div", ["width", "two"], ["half"], "half"),
        helper.make_node("Unsqueeze", ["half", "axes"], ["end"], "end"),
        helper.make_node("Slice", ["x", "axes", "end", "one"], ["y"], "slice"),
        helper.make_node("Gather", ["shape", "first"], ["open"], "open"),
    ]
    model = made(
        nodes,
        {"x": ["n", 6]},
        {"y": [None, None], "open": []},
        kinds={"open": INT64},
        **constant(last=1, first=0, two=2, axes=[0], one=[1]),
    )
    settled = settle(model)
    assert sorted(kinds_of(settled)) == [
        "Gather",
        "Shape",
        "Slice",
    ]
    (y,) = [entry for entry in settled.graph.output if entry.name == "y"]
    assert y.type.tensor_type.shape.dim[1].dim_value == 3
    x = PLAIN[0, 0]
    assert run(settled, x=x)["y"].tolist() == x[:, :3].tolist()


def test_a_size_that_became_a_fraction_is_no_size() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Cast", ["shape"], ["sizes"], "cast", to=FLOAT),
        helper.make_node("Sqrt", ["sizes"], ["y"], "root"),
    ]
    settled = settle(made(nodes, {"x": ["n", 4]}, {"y": [2]}))
    assert run(settled, x=PLAIN[0, 0, :, :4])["y"].tolist() == [2.0, 2.0]


def test_repeating_each_number_needs_no_search_for_places() -> None:
    """As PyTorch's repeat_interleave is exported, which asks where a constant is not zero."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], "shape"),
        helper.make_node("Gather", ["shape", "last"], ["width"], "width"),
        helper.make_node(
            "ConstantOfShape",
            ["width"],
            ["twos"],
            "twos",
            value=helper.make_tensor("value", INT64, [1], [2]),
        ),
        helper.make_node("Unsqueeze", ["twos", "last"], ["counts"], "counts"),
        helper.make_node("Less", ["range", "counts"], ["wanted"], "less"),
        helper.make_node("NonZero", ["wanted"], ["places"], "places"),
        helper.make_node("Split", ["places"], ["which", "copy"], "split", axis=0, num_outputs=2),
        helper.make_node("Gather", ["x", "which"], ["y"], "gather", axis=1),
    ]
    model = made(
        nodes,
        {"x": ["n", 3]},
        {"y": [None, None, None]},
        **constant(last=[1], range=[0, 1]),
    )
    settled = settle(model)
    assert kinds_of(settled) == ["Gather"]
    x = PLAIN[0, 0, :, :3]
    assert run(settled, x=x)["y"][:, 0].tolist() == np.repeat(x, 2, axis=1).tolist()


def masked(last: onnx.NodeProto) -> onnx.ModelProto:
    """Make zeros of ones as exporters do: 0 where the mask is 1, and a lot below otherwise."""
    nodes = [
        helper.make_node("Slice", ["mask", "from", "to", "axis", "step"], ["thin"], "thin"),
        helper.make_node("Unsqueeze", ["thin", "axis"], ["wide"], "wide"),
        helper.make_node("Cast", ["wide"], ["ones"], "ones", to=FLOAT),
        helper.make_node("Sub", ["one", "ones"], ["zeros"], "zeros"),
        helper.make_node("Cast", ["zeros"], ["hidden"], "hidden", to=TensorProto.BOOL),
        helper.make_node("Where", ["hidden", "low", "zeros"], ["bias"], "bias"),
        last,
    ]
    numbers = {"one": np.array(1, np.float32), "low": np.array(-1e9, np.float32)}
    return made(
        nodes,
        {"scores": ["n", "q", "k"], "mask": ["n", "samples"]},
        {"y": [None, None, None]},
        kinds={"mask": INT64},
        **numbers,
        **constant(**{"from": [0], "to": [2**62], "axis": [1], "step": [2]}),
    )


@pytest.mark.parametrize("order", [["scores", "bias"], ["bias", "scores"]])
def test_a_mask_that_hides_nothing_is_taken_out(order: list[str]) -> None:
    model = masked(helper.make_node("Add", order, ["sum"], "sum"))
    model.graph.node.append(helper.make_node("Softmax", ["sum"], ["y"], "softmax"))
    scores = PLAIN[0]
    wanted = run(model, scores=scores, mask=np.ones((3, 12), np.int64))["y"]
    remove_mask(model, "mask")
    assert kinds_of(model) == ["Softmax"]
    assert run(model, scores=scores)["y"] == pytest.approx(wanted)


def test_a_graph_without_a_mask_stays() -> None:
    model = masked(helper.make_node("Add", ["scores", "bias"], ["y"], "sum"))
    before = model.SerializeToString()
    remove_mask(model, "another")
    assert model.SerializeToString() == before


def test_a_mask_that_is_used_in_another_way_is_refused() -> None:
    model = masked(helper.make_node("Mul", ["scores", "ones"], ["y"], "product"))
    with pytest.raises(ModelError, match="input 'mask': used for more than hiding"):
        remove_mask(model, "mask")


def merged(condition: str = "again") -> onnx.ModelProto:
    """Make a graph that adds or multiplies what was computed before."""

    def branch(kind: str, inner: str) -> onnx.GraphProto:
        info = helper.make_tensor_value_info(inner, FLOAT, [None])
        other = helper.make_tensor_value_info(f"{inner}_encoder", FLOAT, [None])
        nodes = [
            helper.make_node(kind, ["double", f"{inner}_own"], [inner], kind),
            helper.make_node("Neg", ["past"], [other.name], f"neg {kind}"),
        ]
        own_constant = numpy_helper.from_array(np.array([3], np.float32), f"{inner}_own")
        return helper.make_graph(nodes, kind, [], [info, other], [own_constant])

    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"], "before"),
        helper.make_node(
            "If",
            [condition],
            ["y", "y_encoder"],
            "choice",
            then_branch=branch("Mul", "y"),
            else_branch=branch("Sub", "inner"),
        ),
    ]
    return made(
        nodes,
        {"x": ["n"], "past": ["n"], "again": [1]},
        {"y": [None], "y_encoder": [None]},
        kinds={"again": TensorProto.BOOL},
        unused=np.zeros(3, np.float32),
    )


def test_each_branch_computes_what_it_did() -> None:
    whole = merged()
    branches = split_branches(whole)
    x, past = np.array([1, 2], np.float32), np.array([7], np.float32)
    for again, alone in ((True, branches.when_true), (False, branches.when_false)):
        wanted = run(whole, x=x, past=past, again=np.array([again]))
        assert "If" not in kinds_of(alone)
        assert len(alone.graph.initializer) == 1
        assert run(alone, x=x, past=past)["y"].tolist() == wanted["y"].tolist()
    keep_outputs(branches.when_true, lambda name: "encoder" not in name)
    assert [entry.name for entry in branches.when_true.graph.input] == ["x"]
    assert run(branches.when_true, x=x)["y"].tolist() == [6, 12]


def test_a_graph_without_one_branch_that_an_input_decides_is_refused() -> None:
    whole = merged()
    del whole.graph.node[1]
    with pytest.raises(ModelError, match="one If that an input decides, got 0"):
        split_branches(whole)
    with pytest.raises(ModelError, match="one If that an input decides, got 1"):
        split_branches(merged("double"))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "encoder.ort"
    file.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"encoder\.ort: ONNX Runtime cannot read it"):
        read_model(file)


def test_the_same_file_makes_the_same_bytes(tmp_path: Path) -> None:
    model = masked(helper.make_node("Add", ["scores", "bias"], ["sum"], "sum"))
    model.graph.node.append(own("Gelu", ["sum"]))
    model.graph.input[1].name = "attention_mask"
    model.graph.node[0].input[0] = "attention_mask"
    onnx.save(model, tmp_path / "model.onnx")
    first, second = (
        public_graph("encoder", {"encoder": tmp_path / "model.onnx"}) for _ in range(2)
    )
    assert [entry.name for entry in first.graph.input] == ["scores"]
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


def test_an_old_graph_is_written_in_newer_operators(tmp_path: Path) -> None:
    model = made([own("Gelu", ["x"])], {"x": ["n"]}, {"y": ["n"]}, opset=14)
    onnx.save(model, tmp_path / "model.onnx")
    graph = public_graph("encoder", {"encoder": tmp_path / "model.onnx"})
    assert graph.opset_import[0].version == 17


def test_profiles_follow_from_the_names_of_axes() -> None:
    node = helper.make_node("Relu", ["x"], ["y"], "relu")
    model = made([node], {"x": ["batch_size", 8, "past"]}, {"y": [None] * 3})
    (found,) = profiles_of(model, {"batch_size": (1, 1, 4), "past": (1, 9, 90)})
    assert str(found) == "x:1x8x1,1x8x9,4x8x90"
    with pytest.raises(ModelError, match="input 'x': axis 'past' is not known; known: batch_size"):
        profiles_of(model, {"batch_size": (1, 1, 4)})

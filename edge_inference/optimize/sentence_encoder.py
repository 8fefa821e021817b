"""Makes the ONNX graph of a BERT encoder from its weights (Devlin et al. 2018, arXiv:1810.04805).

Sentence encoders such as all-MiniLM-L6-v2 are published as ``config.json`` and
``model.safetensors``, without a graph. torch is not needed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, parse_json, read_bytes, read_json
from edge_inference.engines.precision.onnx_file import import_onnx
from edge_inference.errors import ModelError

Weights = Mapping[str, NDArray[np.float32]]

_DTYPES = {"F32": "<f4", "F16": "<f2"}
_MAX_HEADER_BYTES = 8 << 20
_MAX_LAYERS = 1000
_MAX_SIZE = 65_536
_OPSET = 17
#: Added to the attention scores of masked tokens.
_MASKED = -1e9


@dataclass(frozen=True)
class BertConfig:
    """The dimensions of a BERT encoder."""

    layers: int
    heads: int
    size: int
    epsilon: float


def read_bert_config(file: Path) -> BertConfig:
    """Read a ``config.json``. Raises ModelError for anything but a plain BERT encoder."""
    config = _read_json_object(file)
    kind = config.get("model_type"), config.get("hidden_act")
    position = config.get("position_embedding_type", "absolute")
    if kind != ("bert", "gelu") or position != "absolute":
        raise ModelError(
            f"{file}: expected model_type bert with hidden_act gelu and absolute positions, got "
            f"{kind[0]!s:.80}, {kind[1]!s:.80} and {position!s:.80}"
        )
    try:
        bert = BertConfig(
            int(config["num_hidden_layers"]),
            int(config["num_attention_heads"]),
            int(config["hidden_size"]),
            float(config["layer_norm_eps"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{file}: {error!s:.200} is missing or not a number") from error
    for name, value, maximum in (
        ("num_hidden_layers", bert.layers, _MAX_LAYERS),
        ("num_attention_heads", bert.heads, _MAX_SIZE),
        ("hidden_size", bert.size, _MAX_SIZE),
    ):
        if not 1 <= value <= maximum:
            raise ModelError(f"{file}: expected {name} from 1 to {maximum}, got {value}")
    if not 0 < bert.epsilon < 1:
        raise ModelError(f"{file}: expected layer_norm_eps between 0 and 1, got {bert.epsilon:g}")
    if bert.size % bert.heads:
        raise ModelError(
            f"{file}: expected a hidden_size that {bert.heads} heads divide, got {bert.size}"
        )
    return bert


def read_safetensors(file: Path) -> dict[str, NDArray[np.float32]]:
    """Read the floating-point tensors of a safetensors file as float32.

    The format is eight bytes with the length of a JSON header, the header with the offsets of all
    tensors, and their data. Raises ModelError for a file with another format.
    """
    try:
        data = read_bytes(file, MAX_WEIGHTS_BYTES)
        (length,) = struct.unpack_from("<Q", data)
        if length > min(len(data), _MAX_HEADER_BYTES):
            raise ValueError(f"a header of {length} bytes")
        header = parse_json(data[8 : 8 + length].decode())
        tensors = {}
        left = len(data) - 8 - length
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] not in _DTYPES:
                continue
            first, last = entry["data_offsets"]
            left -= last - first
            if not 0 <= first <= last or left < 0:  # tensors must not share bytes
                raise ValueError(f"the offsets of {name!r:.200} are invalid or overlap others")
            flat = np.frombuffer(
                data[8 + length + first : 8 + length + last], _DTYPES[entry["dtype"]]
            )
            tensors[name] = flat.reshape(entry["shape"]).astype(np.float32)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from error
    except (
        struct.error,
        ArithmeticError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise ModelError(f"{file}: not a complete safetensors file: {error}") from error
    return tensors


def make_bert_graph(config: BertConfig, weights: Weights) -> Any:
    """Return the ONNX model: ``input_ids``, ``attention_mask``, ``token_type_ids`` [n, tokens].

    Its output is ``last_hidden_state``, float32 [n, tokens, size]. Raises ModelError for a
    missing weight.
    """
    return _GraphBuilder(config, weights).build()


class _GraphBuilder:
    def __init__(self, config: BertConfig, weights: Weights) -> None:
        self._config = config
        self._weights = weights
        self._onnx = import_onnx()
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def build(self) -> Any:
        helper = self._onnx.helper
        states = self._embed()
        mask = self._op("Cast", "attention_mask", to=self._onnx.TensorProto.FLOAT)
        inverted = self._op("Sub", self._constant("one", np.float32(1.0)), mask)
        bias = self._op("Mul", inverted, self._constant("masked", np.float32(_MASKED)))
        bias = self._op("Unsqueeze", bias, self._constant("head_axes", np.array([1, 2])))
        for layer in range(self._config.layers):
            states = self._layer(states, bias, f"encoder.layer.{layer}")
        self._nodes.append(helper.make_node("Identity", [states], ["last_hidden_state"]))
        value = helper.make_tensor_value_info
        int64, float32 = self._onnx.TensorProto.INT64, self._onnx.TensorProto.FLOAT
        names = ("input_ids", "attention_mask", "token_type_ids")
        inputs = [value(name, int64, ["n", "tokens"]) for name in names]
        outputs = [value("last_hidden_state", float32, ["n", "tokens", self._config.size])]
        initializers = [
            self._onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in self._constants.items()
        ]
        graph = helper.make_graph(self._nodes, "bert", inputs, outputs, initializers)
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        self._onnx.checker.check_model(model)
        return model

    def _embed(self) -> str:
        words = self._op("Gather", self._weight("embeddings.word_embeddings.weight"), "input_ids")
        types = self._op(
            "Gather", self._weight("embeddings.token_type_embeddings.weight"), "token_type_ids"
        )
        length = self._op("Shape", "input_ids", start=1, end=2)
        zero = self._constant("zero", np.array([0]))
        positions = self._op(
            "Slice", self._weight("embeddings.position_embeddings.weight"), zero, length, zero
        )
        return self._layer_norm(
            self._op("Add", self._op("Add", words, types), positions), "embeddings.LayerNorm"
        )

    def _layer(self, states: str, bias: str, name: str) -> str:
        heads, size = self._config.heads, self._config.size
        split = self._constant("split", np.array([0, 0, heads, size // heads]))
        joined = self._constant("joined", np.array([0, 0, size]))
        parts = {}
        for part, order in (
            ("query", [0, 2, 1, 3]),
            ("key", [0, 2, 3, 1]),
            ("value", [0, 2, 1, 3]),
        ):
            dense = self._dense(states, f"{name}.attention.self.{part}")
            parts[part] = self._op("Transpose", self._op("Reshape", dense, split), perm=order)
        scale = self._constant("scale", np.float32(1 / math.sqrt(size // heads)))
        scores = self._op("Mul", self._op("MatMul", parts["query"], parts["key"]), scale)
        probabilities = self._op("Softmax", self._op("Add", scores, bias), axis=-1)
        mixed = self._op(
            "Transpose", self._op("MatMul", probabilities, parts["value"]), perm=[0, 2, 1, 3]
        )
        attended = self._dense(self._op("Reshape", mixed, joined), f"{name}.attention.output.dense")
        states = self._layer_norm(
            self._op("Add", states, attended), f"{name}.attention.output.LayerNorm"
        )
        inner = self._gelu(self._dense(states, f"{name}.intermediate.dense"))
        outer = self._dense(inner, f"{name}.output.dense")
        return self._layer_norm(self._op("Add", states, outer), f"{name}.output.LayerNorm")

    def _gelu(self, values: str) -> str:
        root = self._constant("root", np.float32(math.sqrt(2.0)))
        part = self._op("Add", self._op("Erf", self._op("Div", values, root)), "one")
        half = self._op("Mul", values, self._constant("half", np.float32(0.5)))
        return self._op("Mul", half, part)

    def _dense(self, values: str, name: str) -> str:
        weight = self._weight(f"{name}.weight", transposed=True)
        return self._op("Add", self._op("MatMul", values, weight), self._weight(f"{name}.bias"))

    def _layer_norm(self, values: str, name: str) -> str:
        scale, shift = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._op(
            "LayerNormalization", values, scale, shift, axis=-1, epsilon=self._config.epsilon
        )

    def _weight(self, name: str, *, transposed: bool = False) -> str:
        # Some files prefix every name with that of the model.
        array = self._weights.get(name, self._weights.get(f"bert.{name}"))
        if array is None:
            raise ModelError(f"weight {name} is missing; expected the weights of a BERT encoder")
        return self._constant(name, array.T if transposed else array)

    def _constant(self, name: str, array: NDArray[Any] | np.float32) -> str:
        self._constants[name] = np.asarray(array)
        return name

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind}_{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output


def _read_json_object(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{file}: not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file}: expected a JSON object")
    return content

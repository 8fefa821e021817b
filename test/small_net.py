"""Builds one small ONNX network, node by node, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IMAGE = (1, 3, 16, 16)


class SmallNet:
    """A network whose input is the image ``x`` of [1, 3, 16, 16].

    ``opset`` is that of the standard operators; ``ir_version`` that of the file.
    """

    def __init__(self, opset: int = 17, ir_version: int = 8) -> None:
        self.opsets = {"": opset}
        self.ir_version = ir_version
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE)]
        self.functions: list[onnx.FunctionProto] = []
        self._random = np.random.default_rng(7)

    def add(
        self, kind: str, *inputs: str, outputs: str = "", name: str | None = None, **attributes: Any
    ) -> str:
        """Add a node and return its first output; ``outputs`` are names between spaces."""
        label = f"{kind.lower()}_{len(self.nodes)}" if name is None else name
        names = outputs.split() or [f"t{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, names, label, **attributes))
        return names[0]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add an initializer and return its name."""
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a vector of int64."""
        return self.constant(values, np.int64)

    def random(self, *shape: int) -> NDArray[np.float32]:
        """Return random weights that keep the size of the values."""
        fan_in = max(int(np.prod(shape[1:])), 1)
        return (self._random.standard_normal(shape) * (2 / fan_in) ** 0.5).astype(np.float32)

    def weight(self, *shape: int) -> str:
        """Add random weights."""
        return self.constant(self.random(*shape))

    def conv(self, source: str, before: int, after: int, **attributes: Any) -> str:
        """Add a 3x3 convolution with a bias, by default without change of size."""
        bias = self.constant(self._random.uniform(-0.1, 0.1, after))
        attributes = {"pads": [1] * 4, **attributes}
        return self.add("Conv", source, self.weight(after, before, 3, 3), bias, **attributes)

    def stem(self) -> str:
        """Add a convolution of the image and a ReLU: [1, 8, 16, 16]."""
        return self.add("Relu", self.conv("x", 3, 8))

    def tokens(self, source: str) -> str:
        """Return a map of [1, 8, 16, 16] as 16 tokens of 128 numbers: [1, 16, 128]."""
        return self.add("Reshape", source, self.integers(1, 16, 128))

    def head(self, source: str, channels: int = 8, outputs: str = "y") -> str:
        """Add a 1x1 convolution to the output."""
        return self.add("Conv", source, self.weight(4, channels, 1, 1), outputs=outputs)

    def model(
        self,
        outputs: Sequence[str] = ("y",),
        kinds: Mapping[str, int] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
    ) -> onnx.ModelProto:
        """Return the model; outputs are fp32 unless ``kinds`` says otherwise.

        ``shapes`` are those that ONNX cannot infer.
        """
        graph = helper.make_graph(
            self.nodes,
            "small",
            self.inputs,
            [
                helper.make_tensor_value_info(
                    name, (kinds or {}).get(name, TensorProto.FLOAT), (shapes or {}).get(name)
                )
                for name in outputs
            ],
            self.constants,
        )
        opsets = [helper.make_opsetid(domain, number) for domain, number in self.opsets.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=self.ir_version, functions=self.functions
        )
        return onnx.shape_inference.infer_shapes(model)

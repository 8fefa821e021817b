"""Builds an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Class of the red and of the blue square.
RED, BLUE = 2, 5
#: Color of the squares as R, G, B; the rest of the image is gray.
RED_PIXEL, BLUE_PIXEL = (230, 20, 20), (10, 30, 200)
#: The score of a square: R - (G + B) / 2 for red, B - (R + G) / 2 for blue, as parts of 255.
RED_SCORE = (230 - (20 + 20) / 2) / 255
BLUE_SCORE = (200 - (10 + 30) / 2) / 255
#: Factor of the logits of a classifier.
SHARPNESS = 100
_NANODET = Path(__file__).resolve().parents[2] / "models" / "nanodet"
#: The names of the 80 classes of COCO; car is red, bus is blue.
COCO = (_NANODET / "labels.txt").read_text().splitlines()


class Graph:
    """A graph under construction. Methods return the name of their output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[TensorProto] = []
        self._count = 0

    def constant(self, value: np.ndarray | Sequence[int] | int | float) -> str:
        """Add an initializer; lists of integers become int64."""
        name = self._name("c")
        self._weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Add a node with one output."""
        return self.add_many(operator, 1, *inputs, **attributes)[0]

    def add_many(self, operator: str, count: int, *inputs: str, **attributes: object) -> list[str]:
        """Add a node with several outputs."""
        names = [self._name(operator.lower()) for _ in range(count)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, names[0], **attributes))
        return names

    def rename(self, name: str, output: str) -> str:
        """Give a tensor the name of a graph's output."""
        self._nodes.append(helper.make_node("Identity", [name], [output], f"{output}_node"))
        return output

    def reshape(self, name: str, *shape: int) -> str:
        """Reshape a tensor."""
        return self.add("Reshape", name, self.constant(np.array(shape, np.int64)))

    def save(
        self,
        file: Path,
        inputs: Mapping[str, tuple[int, list[int | str]]],
        outputs: Mapping[str, tuple[int, list[int | str]]],
        metadata: Mapping[str, object] | None = None,
        producer: str = "pytorch",
        opset: int = 17,
    ) -> Path:
        """Check and write the model; tensors are type and shape by name."""
        graph = helper.make_graph(
            self._nodes,
            "main_graph",
            [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
            [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
            self._weights,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )
        model.producer_name = producer
        for key, value in (metadata or {}).items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, str(value)
        onnx.checker.check_model(model)
        file.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, file)
        return file

    def redness(
        self, image: str, mean: Sequence[float], std: Sequence[float], *, bgr: bool = False
    ) -> str:
        """Return ``[1, 2, H, W]``: how red and how blue each pixel of the normalized image is.

        ``mean`` and ``std`` are for 0 to 255, in the order of the channels of the image.
        """
        of_rgb = np.array([[1, -0.5, -0.5], [-0.5, -0.5, 1]])
        weights = of_rgb[:, ::-1] if bgr else of_rgb
        kernel = (weights * np.array(std) / 255).astype(np.float32)
        bias = (weights @ np.broadcast_to(np.array(mean), 3) / 255).astype(np.float32)
        planes = self.add(
            "Conv", image, self.constant(kernel[:, :, None, None]), self.constant(bias)
        )
        return self.add("Relu", planes)

    def cells(self, planes: str, size: int, count: int) -> str:
        """Return ``[1, 2, count]``: the means of the planes in square cells."""
        pooled = self.add("AveragePool", planes, kernel_shape=[size, size], strides=[size, size])
        return self.reshape(pooled, 1, 2, count)

    def class_scores(self, cells: str, classes: int, red: int = RED, blue: int = BLUE) -> str:
        """Return ``[1, classes, count]`` from the cells of :meth:`cells`."""
        selector = np.zeros((classes, 2), np.float32)
        selector[red, 0] = selector[blue, 1] = 1
        return self.add("MatMul", self.constant(selector), cells)

    def best(self, cells: str, red: int = RED, blue: int = BLUE) -> tuple[str, str]:
        """Return the score and the class as a float of each cell, ``[1, count]`` each."""
        score = self.add("ReduceMax", cells, axes=[1], keepdims=0)
        is_blue = self.add("ArgMax", cells, axis=1, keepdims=0)
        number = self.add("Cast", is_blue, to=TensorProto.FLOAT)
        number = self.add("Mul", number, self.constant(np.float32(blue - red)))
        return score, self.add("Add", number, self.constant(np.float32(red)))

    def top(self, score: str, number: str, boxes: np.ndarray, count: int) -> tuple[str, str, str]:
        """Return boxes ``[1, count, 4]``, scores and classes ``[1, count]`` of the best cells."""
        best, index = self.add_many(
            "TopK", 2, score, self.constant(np.array([count], np.int64)), axis=1
        )
        chosen = self.add("Gather", self.constant(boxes.astype(np.float32)), index, axis=0)
        return chosen, best, self.add("GatherElements", number, index, axis=1)

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def cell_boxes(width: int, height: int, size: int) -> np.ndarray:
    """Return x1, y1, x2, y2 of the cells, row by row, in pixels."""
    rows, columns = np.mgrid[0 : height // size, 0 : width // size]
    corner = np.stack([columns.ravel(), rows.ravel()], axis=1) * size
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def centered(boxes: np.ndarray) -> np.ndarray:
    """Convert corners to centre x, y, width, height."""
    corner, end = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(corner + end) / 2, end - corner], axis=1).astype(np.float32)

"""Runs a network and returns the values of its inner tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.ort import CPU, import_onnxruntime, session_options, tensor_spec
from edge_inference.core.models.graph.graph_binding import GraphBinding, bind_graph
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.precision.onnx_file import first_line, import_onnx, session_source
from edge_inference.errors import BackendError, ModelError, TensorError

if TYPE_CHECKING:
    from onnx import ModelProto


class IntermediateTensors:
    """A folded network with every fp32 tensor as an output, for one batch at a time."""

    def __init__(
        self, model: ModelProto, input_name: str, description: ModelDescription | None = None
    ) -> None:
        """Open the network. Raises ModelError for any other input, BackendError.

        With ``description`` a batch is fitted to the graph's inputs as in a backend; the network
        may then have further inputs, whose values it states.
        """
        onnx = import_onnx()
        inputs = [entry.name for entry in model.graph.input]
        if description is None and inputs != [input_name]:
            raise ModelError(
                f"expected a network whose only input is {input_name!r}, got {', '.join(inputs)}; "
                "correct input.name in model.yaml"
            )
        self._input = input_name
        exposed = type(model)()
        exposed.CopyFrom(model)
        self.names = _expose(exposed, onnx)
        onnxruntime = import_onnxruntime()
        try:
            with session_source(exposed, Path("the network")) as source:
                self._session = onnxruntime.InferenceSession(
                    source, session_options(onnxruntime), providers=[CPU], enable_fallback=0
                )
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BackendError(
                "ONNX Runtime cannot run the network with its inner tensors as outputs: "
                f"{first_line(error)}"
            ) from error
        self._binding = GraphBinding((), ())
        if description is not None:
            specs = [tensor_spec(node) for node in self._session.get_inputs()]
            self._binding = bind_graph(description, specs, ())

    def run(self, batch: NDArray[Any]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield the name and values of each fp32 tensor, the input first. Raises TensorError."""
        if batch.dtype == np.float32:
            yield self._input, batch
        try:
            feeds = dict(self._binding.feed({self._input: batch}))
            values = self._session.run(list(self.names), feeds)
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise TensorError(
                f"tensor {self._input!r} of {batch.dtype} {list(batch.shape)}: ONNX Runtime "
                f"cannot run the network on it: {first_line(error)}"
            ) from error
        yield from zip(self.names, values, strict=True)


def _expose(model: ModelProto, onnx: Any) -> tuple[str, ...]:
    """Make outputs of all fp32 tensors that nodes compute; return their names in graph order.

    Tensors that are computed from constants alone, such as dequantized weights, are the same for
    every image and are left out.
    """
    constants = {entry.name for entry in model.graph.initializer} | {""}
    known = {entry.name: entry for entry in (*model.graph.value_info, *model.graph.output)}
    outputs = {entry.name for entry in model.graph.output}
    names = []
    for node in model.graph.node:
        if node.input and constants.issuperset(node.input):
            constants.update(node.output)
            continue
        for name in node.output:
            entry = known.get(name)
            if entry is None or entry.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
                continue
            names.append(name)
            if name not in outputs:
                model.graph.output.append(entry)
    return tuple(names)

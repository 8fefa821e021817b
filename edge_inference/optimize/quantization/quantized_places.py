"""Finds where the deployed network rounds, and the same places in the traced PyTorch module.

The derivation of int8 (``engines/precision``) decides by itself which tensors and weights an
engine gets as 8-bit numbers. A training must round at the same places, or the deployed network
computes something else. So the module is exported, int8 is derived from that file, and the
tensors of the derivation are found again in the module by their values on some images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.exclude import WEIGHTED, masked_nodes, tail_nodes
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.int8 import to_int8
from edge_inference.engines.precision.onnx_file import import_onnx
from edge_inference.optimize.intermediate_tensors import IntermediateTensors
from edge_inference.optimize.quantization.fake_quantization import RoundedTensor
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.fx import GraphModule

#: Operators with weights that no derivation converts.
_RECURRENT = ("GRU", "LSTM", "RNN")
#: ONNX Runtime and PyTorch round differently, relative to the largest value of a tensor.
_MAX_RELATIVE_DIFFERENCE = 1e-3


@dataclass(frozen=True)
class QuantizedPlaces:
    """Where a module must round so that it computes what the deployed int8 network computes.

    ``tensors`` are activations, each with the calibrated range, and ``layers`` the names of the
    submodules whose weights are rounded. ``unmatched`` are tensors and layers of the deployed
    network that are rounded there, but are inside one module of PyTorch, such as the sigmoid in a
    SiLU. ``in_fp32`` are the ONNX nodes with weights that stay in fp32.
    """

    tensors: tuple[RoundedTensor, ...]
    layers: tuple[str, ...]
    unmatched: tuple[str, ...]
    in_fp32: tuple[str, ...]


def find_places(
    model: TorchModel,
    file: Path,
    calibration: Calibration,
    images: NDArray[np.float32],
    target: str,
    *,
    per_channel: bool,
) -> QuantizedPlaces:
    """Find the places of a traced model.

    ``file`` is its export, ``calibration`` belongs to it, and ``images`` tell tensors apart.
    Raises ModelError where no layer can compute in int8, and what ``fold`` raises.
    """
    folded = fold(file)
    derived = type(folded)()
    derived.CopyFrom(folded)
    keep = {**tail_nodes(folded), **masked_nodes(folded, calibration.masked)}
    derived, kept = to_int8(derived, target, calibration.ranges, keep, per_channel=per_channel)
    nodes_of = match_tensors(model, folded, images)
    tensors: list[RoundedTensor] = []
    rounded: set[str] = set()
    unmatched: list[str] = []
    for names in _groups(derived, {name for node in folded.graph.node for name in node.output}):
        unmatched += [name for name in names if name not in nodes_of]
        found = dict.fromkeys(nodes_of[name] for name in names if name in nodes_of)
        nodes = tuple(node for node in found if node not in rounded)
        rounded.update(nodes)
        if nodes:
            tensors.append(RoundedTensor(nodes, calibration.ranges[names[0]]))
    layers, unmatched_layers = _match_layers(model, folded, kept)
    return QuantizedPlaces(
        tuple(tensors),
        layers,
        (*unmatched, *unmatched_layers),
        tuple(
            node.name
            for node in folded.graph.node
            if node.name in kept and (_has_weights(node) or node.op_type in _RECURRENT)
        ),
    )


def match_tensors(
    model: TorchModel,
    folded: ModelProto,
    images: NDArray[np.float32],
    preferred: Collection[str] = (),
) -> dict[str, str]:
    """Return the node of the traced module for each fp32 tensor of the network that it computes.

    ``folded`` is the folded export of the module. A tensor inside one module of PyTorch has no
    node. Of several nodes with these values, such as one before and one behind a dropout, it is
    one of ``preferred``, or else the first one.
    """
    values = _node_values(model.module, images)
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, value in values.items():
        by_shape.setdefault(value.shape, []).append(name)
    found = {}
    for tensor, value in IntermediateTensors(folded, model.input.name).run(images):
        limit = _MAX_RELATIVE_DIFFERENCE * float(np.abs(value).max(initial=0.0))
        differences = {
            name: float(np.abs(values[name] - value).max(initial=0.0))
            for name in by_shape.get(value.shape, ())
        }
        least = min(differences.values(), default=np.inf)
        if least <= limit:
            nearest = [name for name in differences if differences[name] == least]
            found[tensor] = next((name for name in nearest if name in preferred), nearest[0])
    return found


def _node_values(module: GraphModule, images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Return the float32 result of each node of a traced module."""
    torch = import_torch()
    values: dict[str, NDArray[Any]] = {}

    class Recorder(torch.fx.Interpreter):  # type: ignore[name-defined, misc]
        def run_node(self, node: Any) -> Any:
            value = super().run_node(node)
            is_tensor = isinstance(value, torch.Tensor) and value.dtype == torch.float32
            if is_tensor and node.op not in ("get_attr", "output"):
                values[node.name] = value.numpy().copy()
            return value

    with torch.inference_mode():
        Recorder(module).run(torch.from_numpy(images))
    return values


def _groups(derived: ModelProto, tensors: set[str]) -> list[list[str]]:
    """Return the rounded tensors, those with one scale together, the one that it is for first."""
    constants = {entry.name for entry in derived.graph.initializer}
    graph_inputs = {entry.name for entry in derived.graph.input}
    groups: dict[str, list[str]] = {}
    pairs = {node.input[0]: node for node in derived.graph.node if _is(node, "DequantizeLinear")}
    for node in derived.graph.node:
        if not _is(node, "QuantizeLinear") or node.input[0] in constants:
            continue
        name = node.input[0]
        if name not in tensors and name not in graph_inputs:
            # The pair of an output: the network's own name is behind it.
            name = pairs[node.output[0]].output[0]
        groups.setdefault(node.input[1], []).append(name)
    return list(groups.values())


def _match_layers(
    model: TorchModel, folded: ModelProto, kept: Mapping[str, str]
) -> tuple[tuple[str, ...], list[str]]:
    """Return the submodules with the weights of quantized nodes, and the nodes without one."""
    torch = import_torch()
    to_array = import_onnx().numpy_helper.to_array
    constants = {entry.name: entry for entry in folded.graph.initializer}
    kinds = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d, torch.nn.ConvTranspose2d)
    modules = {
        name: layer.weight.detach().numpy()
        for name, layer in model.module.named_modules()
        if isinstance(layer, (*kinds, torch.nn.Linear))
    }
    found: dict[str, None] = {}
    unmatched = []
    for node in folded.graph.node:
        if not _has_weights(node) or node.name in kept or node.input[1] not in constants:
            continue
        weights = to_array(constants[node.input[1]])
        names = [name for name, own in modules.items() if _same(own, weights)]
        found.update(dict.fromkeys(names))
        if not names:
            unmatched.append(node.name)
    return tuple(found), unmatched


def _same(own: NDArray[Any], weights: NDArray[Any]) -> bool:
    forms = (own, own.T) if own.ndim == 2 else (own,)
    return any(np.array_equal(form, weights) for form in forms)


def _has_weights(node: Any) -> bool:
    return node.op_type in WEIGHTED


def _is(node: Any, kind: str) -> bool:
    return bool(node.op_type == kind)

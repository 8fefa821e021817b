"""Traces a module and merges each batch normalization into the layer before it.

On the robot both are one layer with one set of weights, and it is these weights that int8 rounds.
A training that is to see the rounding must therefore begin with them (Jacob et al., Quantization
and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, arXiv 1712.05877,
section 3.2).
"""

from __future__ import annotations

import copy
import operator
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.errors import ModelError
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

_CHECKED_IMAGES = 2
#: Rounding of float32, relative to the largest output.
_MAX_RELATIVE_DIFFERENCE = 1e-3


def fold_batch_norm(model: TorchModel) -> TorchModel:
    """Return the model as a traced module without the batch normalizations that can be merged.

    These follow a convolution or a linear layer whose result nothing else reads. The same module
    gives a module with the same names of layers, so that stored weights fit. Raises ModelError
    for a module that ``torch.fx`` cannot trace, for a batch normalization without running
    statistics, and where the merged module computes something else.
    """
    torch = import_torch()
    module = trace(model)
    layers = dict(module.named_modules())
    calls = Counter(node.target for node in module.graph.nodes if node.op == "call_module")
    for node in list(module.graph.nodes):
        if node.op != "call_module" or not _is_batch_norm(layers[node.target]):
            continue
        norm = layers[node.target]
        if norm.running_mean is None or norm.running_var is None:
            raise ModelError(
                f"model {model.name}: the batch normalization {node.target} has no running "
                "statistics (track_running_stats=False), so that its result depends on the other "
                "images of a batch; train it again with them"
            )
        source = node.args[0]
        is_alone = (
            isinstance(source, torch.fx.Node)
            and source.op == "call_module"
            and len(source.users) == 1
            and calls[source.target] == calls[node.target] == 1
        )
        merged = _merge(layers[source.target], norm) if is_alone else None
        if merged is not None:
            module.set_submodule(source.target, merged)
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)
    module.delete_all_unused_submodules()
    module.recompile()
    folded = model.with_module(module)
    _check_equal(model, folded)
    return folded


def trace(model: TorchModel) -> GraphModule:
    """Return a copy of the module as a graph of its layers, in evaluation mode.

    Raises ModelError for a module that ``torch.fx`` cannot trace; it names the line.
    """
    torch = import_torch()
    module = copy.deepcopy(model.module).eval()
    try:
        graph = _tracer().trace(module)
        traced = torch.fx.GraphModule(module, graph)
    except Exception as error:  # the user's own code runs: any error may come out of it
        raise ModelError(
            f"model {model.name}: torch.fx cannot trace it: {type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no text'}{_find_line(error)}; "
            "a branch or loop in forward() must not depend on values"
        ) from error
    _split_gates(traced)
    return traced


def _tracer() -> Any:
    """Return a tracer that also looks into the modules of gates."""
    torch = import_torch()

    class Tracer(torch.fx.Tracer):  # type: ignore[name-defined, misc]
        def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
            if isinstance(module, torch.nn.SiLU | torch.nn.Hardswish):
                return False
            return bool(super().is_leaf_module(module, qualified_name))

    return Tracer()


def _split_gates(module: GraphModule) -> None:
    """Write x * sigmoid(x) as two operations, as in ONNX: int8 rounds the sigmoid, too."""
    functions = import_torch().nn.functional
    gates = {functions.silu: functions.sigmoid, functions.hardswish: functions.hardsigmoid}
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in gates:
            continue
        values = node.args[0] if node.args else node.kwargs["input"]
        with module.graph.inserting_before(node):
            gate = module.graph.call_function(gates[node.target], (values,))
            product = module.graph.call_function(operator.mul, (values, gate))
        node.replace_all_uses_with(product)
        module.graph.erase_node(node)
    module.delete_all_unused_submodules()
    module.recompile()


def _find_line(error: Exception) -> str:
    """Return the user's line that failed: the last one outside of torch."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/torch/" not in frame.filename and frame.line]
    if len(own) < 2:  # the first one is the call in this file
        return ""
    return f" ({own[-1].filename}, line {own[-1].lineno}: {own[-1].line})"


def _is_batch_norm(layer: nn.Module) -> bool:
    norms = import_torch().nn
    return isinstance(layer, norms.BatchNorm1d | norms.BatchNorm2d | norms.BatchNorm3d)


def _merge(layer: nn.Module, norm: Any) -> nn.Module | None:
    """Return the layer with the normalization in its weights, None if it cannot take it."""
    torch = import_torch()
    fusion = torch.nn.utils.fusion
    if isinstance(layer, torch.nn.Linear):
        # Only a batch of vectors has its features on the axis that is normalized.
        if norm.weight is None or layer.out_features != norm.num_features:
            return None
        return fusion.fuse_linear_bn_eval(layer, norm)
    for kind in ("Conv1d", "Conv2d", "Conv3d"):
        if isinstance(layer, getattr(torch.nn, kind)):
            return fusion.fuse_conv_bn_eval(layer, norm)
    if isinstance(layer, torch.nn.ConvTranspose2d) and layer.groups == 1:
        return fusion.fuse_conv_bn_eval(layer, norm, transpose=True)
    return None


def _check_equal(model: TorchModel, folded: TorchModel) -> None:
    torch = import_torch()
    example = model.example_input(_CHECKED_IMAGES)
    values = np.random.default_rng(0).normal(size=tuple(example.shape)).astype(np.float32)
    images = torch.from_numpy(values)
    original = copy.deepcopy(model.module).eval()
    try:
        with torch.inference_mode():
            expected, actual = original(images), folded.module(images)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f"model {model.name}: it does not take images of the shape {list(example.shape)}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if not isinstance(expected, torch.Tensor):
        raise ModelError(
            f"model {model.name}: expected a tensor of logits, got {type(expected).__name__}"
        )
    limit = _MAX_RELATIVE_DIFFERENCE * max(float(expected.abs().max()), 1e-12)
    difference = float((expected - actual).abs().max())
    if not difference <= limit:
        raise ModelError(
            f"model {model.name}: traced and with its batch normalizations merged, it differs by "
            f"{difference:.3g} from before; a branch on values in forward() is traced only one way"
        )

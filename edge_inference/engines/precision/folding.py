"""Folds the constants of a network: the common source of every derived model.

In the folded network, all of fp16 is fp32, weights are initializers, batch normalizations are
merged into their convolutions, functions are inlined, every node has a name and every tensor a
type. Opsets before 13 become 13 where they can. Calibrations and lists of nodes in fp32 refer
to this network.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.backends.ort import CPU, import_onnxruntime, session_options
from edge_inference.backends.ort_failures import explain_open_failure
from edge_inference.engines.precision.functions import inline_functions
from edge_inference.engines.precision.graph import all_graphs
from edge_inference.engines.precision.onnx_file import (
    first_line,
    import_onnx,
    infer_shapes,
    is_too_large,
    load_network,
    opset_of,
    raise_if_disk_full,
    read_onnx,
    save_external,
    session_source,
)
from edge_inference.engines.precision.opset import MIN_OPSET, convert_opset
from edge_inference.engines.precision.widen import widen_to_fp32
from edge_inference.errors import BackendError, ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

#: The file format that goes with opset 13; before version 4 all initializers were inputs, too.
_MIN_IR_VERSION = 7


_known_fold: ContextVar[tuple[Path, ModelProto] | None] = ContextVar("known_fold", default=None)


@contextmanager
def folded_once(source: Path) -> Iterator[ModelProto]:
    """Yield the folded network; ``fold`` of this file returns copies of it during the block.

    For many derivations of one file, which must not change meanwhile, in the calling thread.
    Raises what ``fold`` raises.
    """
    model = fold(source)
    token = _known_fold.set((source, model))
    try:
        yield model
    finally:
        _known_fold.reset(token)


def fold(source: Path) -> ModelProto:
    """Read an ONNX file and fold its constants; its inputs and outputs do not change.

    An initializer that is listed as an input, too, is a constant with that value. Raises
    ModelError for an invalid ONNX file, BackendError where ONNX Runtime cannot run it or a
    package is missing.
    """
    known = _known_fold.get()
    if known is not None and known[0] == source:
        model = import_onnx().ModelProto()
        model.CopyFrom(known[1])
        return model  # type: ignore[no-any-return]
    network, _ = read_onnx(source)
    if not is_too_large(network):  # else ONNX Runtime inlines them
        network = inline_functions(network)
    _drop_default_inputs(network)
    widen_to_fp32(network)
    model = _fold_constants(network, source)
    del network
    if opset_of(model) < MIN_OPSET:
        with suppress(ModelError, BackendError):  # int8 says so; fp16 needs no newer opset
            model = _fold_constants(convert_opset(model), source)
    _name_nodes(model)
    keep_used_domains(model)
    return _infer_types(model, source)


def _drop_default_inputs(model: ModelProto) -> None:
    """Remove the inputs that have a value, as files before IR version 4 list all weights."""
    graph = model.graph
    values = {entry.name for entry in (*graph.initializer, *graph.sparse_initializer)}
    kept = [entry for entry in graph.input if entry.name not in values]
    del graph.input[:]
    graph.input.extend(kept)
    model.ir_version = max(model.ir_version, _MIN_IR_VERSION)


def _fold_constants(network: ModelProto, source: Path) -> ModelProto:
    """Optimize until no constant is left to fold: ONNX Runtime inlines functions at the end."""
    model = _optimize(network, source)
    count = math.inf
    while _has_constant_nodes(model.graph) and len(model.graph.node) < count:
        count = len(model.graph.node)
        model = _optimize(model, source)
    return model


def _has_constant_nodes(graph: GraphProto) -> bool:
    constants = {entry.name for entry in graph.initializer} | {""}
    return any(constants.issuperset(node.input) for node in graph.node if node.input)


def _optimize(network: ModelProto, source: Path) -> ModelProto:
    """Return the network as ONNX Runtime's basic optimizations leave it."""
    onnxruntime = import_onnxruntime()
    with tempfile.TemporaryDirectory(prefix="edge_inference_") as folder:
        folded = Path(folder, "folded.onnx")
        options = session_options(onnxruntime)
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_BASIC
        if is_too_large(network):
            save_external(options, folded)
        options.optimized_model_filepath = str(folded)
        try:
            with session_source(network, source) as opened:
                onnxruntime.InferenceSession(opened, options, providers=[CPU], enable_fallback=0)
        except ModelError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise_if_disk_full(folded)
            raise BackendError(explain_open_failure(source, error, onnxruntime)) from error
        return load_network(folded)


def _infer_types(model: ModelProto, source: Path) -> ModelProto:
    onnx = import_onnx()
    try:
        typed = infer_shapes(model)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(
            f"{source}: shapes cannot be inferred ({first_line(error)}); export it with another "
            "opset, or with fixed shapes"
        ) from error
    _add_missing_types(typed, source)
    return typed


def _add_missing_types(model: ModelProto, source: Path) -> None:
    """Ask ONNX Runtime for the types that ONNX cannot infer, as behind other domains."""
    known = {entry.name for entry in (*model.graph.value_info, *model.graph.output)}
    unknown = [
        name for node in model.graph.node for name in node.output if name and name not in known
    ]
    if not unknown:
        return
    onnx = import_onnx()
    onnxruntime = import_onnxruntime()
    probe = type(model)()
    probe.CopyFrom(model)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in unknown)
    with session_source(probe, source) as opened:
        try:
            session = onnxruntime.InferenceSession(
                opened, session_options(onnxruntime), providers=[CPU], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise BackendError(explain_open_failure(source, error, onnxruntime)) from error
    model.graph.value_info.extend(
        onnx.helper.make_tensor_value_info(entry.name, onnx.TensorProto.FLOAT, entry.shape)
        for entry in session.get_outputs()
        if entry.name in unknown and entry.type == "tensor(float)"
    )


def _name_nodes(model: ModelProto) -> None:
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken.add(name)
            node.name = name


def keep_used_domains(model: ModelProto) -> None:
    """Drop the operator sets that ONNX Runtime adds; some parsers refuse them."""
    used = {node.domain for graph in all_graphs(model.graph) for node in graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)

"""Splits a graph that is one ``If``: each branch becomes its own graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from edge_inference.engines.precision.graph import captured_tensors
from edge_inference.engines.precision.onnx_file import import_onnx
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


class IfBranches(NamedTuple):
    """The graph for a true condition, and the graph for a false one."""

    when_true: ModelProto
    when_false: ModelProto


def split_branches(model: ModelProto) -> IfBranches:
    """Return both branches of the only ``If`` of a graph, each with the outputs of the graph.

    Both include the nodes outside of the ``If``, without inputs, nodes and constants that the
    branch does not need. Raises ModelError unless the graph has exactly one ``If`` whose
    condition is an input.
    """
    inputs = {entry.name for entry in model.graph.input}
    found = [node for node in model.graph.node if node.op_type == "If"]
    if len(found) != 1 or found[0].input[0] not in inputs:
        raise ModelError(
            "expected one If whose condition is an input, as in a merged decoder, got "
            f"{len(found)} If"
        )
    (choice,) = found
    graphs = {attribute.name: attribute.g for attribute in choice.attribute}
    return IfBranches(
        _extract_branch(model, choice, graphs["then_branch"]),
        _extract_branch(model, choice, graphs["else_branch"]),
    )


def keep_outputs(model: ModelProto, is_kept: Callable[[str], bool]) -> None:
    """Remove all other outputs, and the nodes that only those need. ``is_kept`` gets a name."""
    kept = [entry for entry in model.graph.output if is_kept(entry.name)]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    prune(model.graph)


def prune(graph: GraphProto) -> None:
    """Remove nodes, constants, inputs and value_info entries that no output needs."""
    needed = {entry.name for entry in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input, captured_tensors(node))
    _replace(graph.node, reversed(kept))
    computed = needed | {name for node in kept for name in node.output}
    for entries in (graph.initializer, graph.input):
        _replace(entries, [entry for entry in entries if entry.name in needed])
    _replace(graph.value_info, [entry for entry in graph.value_info if entry.name in computed])


def _extract_branch(model: ModelProto, choice: NodeProto, branch: GraphProto) -> ModelProto:
    onnx = import_onnx()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    before: list[NodeProto] = []
    after: list[NodeProto] = []
    for node in model.graph.node:
        if node != choice:
            (after if _reads_any(node, choice.output) else before).append(node)
    if after:
        raise ModelError("expected no nodes after the If of a merged decoder, got some")
    names = [
        onnx.helper.make_node("Identity", [inner.name], [outer], f"give_{outer}")
        for inner, outer in zip(branch.output, choice.output, strict=True)
        if inner.name != outer
    ]
    _replace(graph.node, [*before, *branch.node, *names])
    graph.initializer.extend(branch.initializer)
    graph.value_info.extend(branch.value_info)
    prune(graph)
    return result  # type: ignore[no-any-return]


def _reads_any(node: NodeProto, names: Iterable[str]) -> bool:
    return not {*node.input, *captured_tensors(node)}.isdisjoint(names)


def _replace(entries, replacements) -> None:  # type: ignore[no-untyped-def]
    """Replace the entries of a protobuf list; the new ones may come from the list itself."""
    copies = list(replacements)
    del entries[:]
    entries.extend(copies)

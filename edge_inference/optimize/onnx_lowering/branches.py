"""Takes apart a graph that is one ``If``: each branch becomes a graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from edge_inference.engines.precision.graph import captured
from edge_inference.engines.precision.onnx_file import import_onnx
from edge_inference.errors import ModelError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


class IfBranches(NamedTuple):
    """What runs where the condition holds, and where it does not."""

    when_true: ModelProto
    when_false: ModelProto


def split_branches(model: ModelProto) -> IfBranches:
    """Return both branches of the one ``If`` of a graph, each with the outputs of the whole.

    Nodes outside of it become part of both; inputs, nodes and constants that a branch
    does not need are left out. Raises ModelError where there is not one such ``If`` whose
    condition is an input.
    """
    inputs = {entry.name for entry in model.graph.input}
    found = [node for node in model.graph.node if node.op_type == "If"]
    if len(found) != 1 or found[0].input[0] not in inputs:
        raise ModelError(
            f"expected a graph with one If that an input decides, got {len(found)} of them; "
            "a merged decoder is one"
        )
    (choice,) = found
    graphs = {attribute.name: attribute.g for attribute in choice.attribute}
    return IfBranches(
        _alone(model, choice, graphs["then_branch"]), _alone(model, choice, graphs["else_branch"])
    )


def keep_outputs(model: ModelProto, wanted: Callable[[str], bool]) -> None:
    """Leave only the outputs that are wanted, by name, and what is needed for them."""
    kept = [entry for entry in model.graph.output if wanted(entry.name)]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    prune(model.graph)


def prune(graph: GraphProto) -> None:
    """Remove what no output needs: nodes, constants, inputs and notes about tensors."""
    needed = {entry.name for entry in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input, captured(node))
    _replace(graph.node, reversed(kept))
    made = needed | {name for node in kept for name in node.output}
    for entries in (graph.initializer, graph.input):
        _replace(entries, [entry for entry in entries if entry.name in needed])
    _replace(graph.value_info, [entry for entry in graph.value_info if entry.name in made])


def _alone(model: ModelProto, choice: NodeProto, branch: GraphProto) -> ModelProto:
    onnx = import_onnx()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    before: list[NodeProto] = []
    after: list[NodeProto] = []
    for node in model.graph.node:
        if node != choice:
            (after if _uses(node, choice.output) else before).append(node)
    if after:
        raise ModelError("expected nothing behind the If of a merged decoder")
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


def _uses(node: NodeProto, names: Iterable[str]) -> bool:
    return not {*node.input, *captured(node)}.isdisjoint(names)


def _replace(entries, wanted) -> None:  # type: ignore[no-untyped-def]
    """Put other entries into a protobuf list; they may come from the list itself."""
    kept = list(wanted)
    del entries[:]
    entries.extend(kept)

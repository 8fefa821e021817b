"""Reads what an ONNX file says about itself: inputs, outputs, operators, exporter, metadata.

Nothing is loaded and the package ``onnx`` is not needed; see ``onnx_reader``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import isfinite, prod
from pathlib import Path
from typing import TypeVar

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file
from edge_inference.core.onnx_format.onnx_reader import (
    TYPE_NAMES,
    ByteSource,
    LimitExceededError,
    MalformedMessageError,
    OnnxTensor,
    WireMessage,
    last_text,
    merge_messages,
    read_tensor,
)
from edge_inference.core.onnx_format.onnx_shapes import OnnxAttribute, OnnxNode, normalize_domain
from edge_inference.errors import ModelError

Content = TypeVar("Content")

#: Maximum number of metadata entries, and length of one: a thousand names need 30 kB.
MAX_METADATA, MAX_METADATA_BYTES = 256, 1 << 18
#: Operators that change no pixel, and those that normalize.
_UNCHANGED, _SCALING = ("Cast", "Identity", "Transpose"), ("Add", "Sub", "Mul", "Div")
_MAX_CHANNELS = 4
#: The field of ModelProto.
_METADATA = 14
#: Maximum number of inputs and outputs.
_MAX_TENSORS = 4096

#: The types that numpy has, too, but for complex numbers.
_DTYPES = {number: TYPE_NAMES[number] for number in (*range(1, 8), *range(9, 14))}


@dataclass(frozen=True)
class GraphTensor:
    """An input or output. ``shape`` has a text or None for an axis without a fixed length.

    ``shape`` is None where even the number of axes is open; ``dtype`` is "" for other types.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        axes = "any shape" if self.shape is None else f"[{', '.join(map(_axis, self.shape))}]"
        return f"{self.name} {self.dtype or 'of another type'} {axes}"


@dataclass(frozen=True)
class OnnxSummary:
    """What an ONNX file says about itself.

    ``opsets`` are versions by domain ("" for ONNX's own). ``output_operators`` has the type of the
    operator that computes each output, ``operators`` all types of the main graph.
    ``first_scaling`` is the first calculation on an image with up to four constants, one a
    channel: the operator and the constants.
    """

    ir_version: int
    opsets: Mapping[str, int]
    producer: str
    metadata: Mapping[str, str]
    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    output_operators: Mapping[str, str]
    operators: frozenset[str]
    first_scaling: tuple[str, tuple[float, ...]] | None = None


def read_summary(file: Path) -> OnnxSummary:
    """Read the summary of an ONNX file. Raises ModelError, also for a file that is not ONNX."""
    return _read(file, _summarize)


def read_metadata(file: Path) -> Mapping[str, str]:
    """Read only the metadata of an ONNX file, without its graph. Raises ModelError."""
    return _read(file, lambda model: _metadata(model.all(_METADATA)))


def _read(file: Path, read: Callable[[WireMessage], Content]) -> Content:
    try:
        with open_regular_file(file, MAX_WEIGHTS_BYTES) as stream:
            return read(WireMessage(ByteSource(stream.fileno())))
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error
    except (LimitExceededError, MalformedMessageError) as error:
        raise ModelError(f"{file}: not a valid ONNX file ({error}); export it again") from error


def _summarize(model: WireMessage) -> OnnxSummary:
    parts = model.parts(2, 3, 7, 8, _METADATA)
    graph = merge_messages(parts[7])
    if graph is None:
        raise MalformedMessageError("it has no graph")
    version = [field.value for field in model if field.number == 1 and field.inner is None]
    opsets: dict[str, int] = {}
    for message in parts[8]:
        numbers = message.numbers(2)
        opsets[normalize_domain(last_text([*message.all(1)]))] = numbers[-1] if numbers else 0
    inner = graph.parts(1, 5, 11, 12)
    weights = {tensor.name: tensor for tensor in map(read_tensor, inner[5])}
    inputs = [_tensor(message) for message in _few(inner[11])]
    outputs = [_tensor(message) for message in _few(inner[12])]
    names = {tensor.name for tensor in outputs}
    operators, output_operators = set(), {}
    for node in inner[1]:
        fields = node.parts(2, 4)
        operator = last_text(fields[4])
        operators.add(operator)
        for output in fields[2]:
            if (name := output.text()) in names:
                output_operators[name] = operator
    return OnnxSummary(
        ir_version=version[-1] if version else 0,
        opsets=opsets,
        producer=f"{last_text(parts[2])} {last_text(parts[3])}".strip(),
        metadata=_metadata(parts[_METADATA]),
        inputs=tuple(tensor for tensor in inputs if tensor.name not in weights),
        outputs=tuple(outputs),
        output_operators=output_operators,
        operators=frozenset(operators),
        first_scaling=_first_scaling(inner[1], inputs, weights),
    )


def _first_scaling(
    nodes: Iterable[WireMessage], inputs: Iterable[GraphTensor], weights: dict[str, OnnxTensor]
) -> tuple[str, tuple[float, ...]] | None:
    """Return the first calculation on an image, None where it is another one, such as Conv."""
    images = {
        each.name
        for each in inputs
        if each.name not in weights and each.shape is not None and len(each.shape) in (3, 4)
    }
    constants = dict(weights)
    for message in nodes:
        node = OnnxNode(message)
        if node.is_constant:
            for attribute in map(OnnxAttribute, node.attributes):
                if attribute.tensor is not None and node.outputs:
                    constants[node.outputs[0]] = read_tensor(attribute.tensor)
            continue
        used = node.inputs()
        if images.isdisjoint(used):
            continue
        if node.kind in _UNCHANGED:
            images.update(node.outputs)
        elif node.kind in _SCALING and len(used) == 2:
            constant = constants.get(used[1] if used[0] in images else used[0])
            if (
                constant is None
                or prod(constant.dims) > _MAX_CHANNELS
                or (used[0] not in images and node.kind in ("Sub", "Div"))
            ):
                return None
            values = tuple(map(float, constant.values()))
            return (node.kind, values) if values and all(map(isfinite, values)) else None
        else:
            return None
    return None


def _few(messages: list[WireMessage]) -> list[WireMessage]:
    if len(messages) > _MAX_TENSORS:
        raise LimitExceededError(
            f"expected at most {_MAX_TENSORS} inputs and outputs, got {len(messages)}"
        )
    return messages


def _metadata(entries: Iterable[WireMessage]) -> dict[str, str]:
    """Return the metadata without values that are too long to be read."""
    found: dict[str, str] = {}
    for entry in islice(entries, MAX_METADATA):
        key, value = entry.one(1), entry.one(2)
        if key is not None and value is not None and len(value) <= MAX_METADATA_BYTES:
            found[key.text()] = value.data().decode(errors="replace")
    return found


def _tensor(message: WireMessage) -> GraphTensor:
    name = last_text([*message.all(1)])
    kind = message.one(2)
    tensor = kind.one(1) if kind is not None else None
    if tensor is None:
        return GraphTensor(name, "", None)
    numbers, shape = tensor.numbers(1), tensor.one(2)
    dtype = _DTYPES.get(numbers[-1], "") if numbers else ""
    if shape is None:
        return GraphTensor(name, dtype, None)
    return GraphTensor(name, dtype, tuple(_dimension(axis) for axis in _few([*shape.all(1)])))


def _dimension(axis: WireMessage) -> int | str | None:
    numbers, names = axis.numbers(1), axis.one(2)
    if numbers and numbers[-1] > 0:
        return numbers[-1]
    return names.text() if names is not None else None


def _axis(length: int | str | None) -> str:
    return "any" if length is None else str(length)

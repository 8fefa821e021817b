"""Reads ONNX Runtime's profile: a list of Chrome trace events, one for each executed node.

A node that executes other nodes (If, Loop) lasts as long as they do together; here its time is
what remains without them.
"""

from __future__ import annotations

import bisect
import errno
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import read_json
from edge_inference.errors import BackendError
from edge_inference.observe.profiling.layer_profile import (
    UNKNOWN,
    LayerKind,
    LayerProfile,
    MeasuredRun,
    summarize_runs,
)

SOURCE = "ONNX Runtime's profiling"
#: Enough for 200,000 executed nodes.
MAX_BYTES = 256 << 20

_FEWER_RUNS = "measure fewer inferences with --runs"
_KERNEL = "_kernel_time"
_RUN = "model_run"
_PRECISIONS = {
    "float": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "double": "fp64",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)},
    "bool": "bool",
    "string": "string",
}
_FLOATS = ("fp32", "fp16", "bf16", "fp64")
#: Kernels that compute in integers, by a part of their name.
_INTEGER = ("QLinear", "Integer", "QGemm", "QConv", "QAttention", "DynamicQuantizeMatMul")
_WEIGHTED = (*_INTEGER, "Conv", "Gemm", "MatMul", "Attention", "LSTM", "GRU")
_CONVERTERS = ("Cast", "QuantizeLinear", "DequantizeLinear")


@dataclass
class NodeEvent:
    """An executed node; times in microseconds. ``self_us`` is without the nodes in its graphs."""

    name: str
    begin_us: int
    duration_us: int
    arguments: Mapping[str, Any]
    self_us: int = field(init=False)

    def __post_init__(self) -> None:
        self.self_us = self.duration_us

    @property
    def end_us(self) -> int:
        """The end."""
        return self.begin_us + self.duration_us

    @property
    def operator(self) -> str:
        """The operator, such as Conv."""
        return str(self.arguments.get("op_name", UNKNOWN))


@dataclass(frozen=True)
class RecordedRun:
    """An inference with its nodes in the order of their start."""

    begin_us: int
    duration_us: int
    nodes: tuple[NodeEvent, ...]


def read_ort_profile(file: Path, runs: int, max_bytes: int = MAX_BYTES) -> list[RecordedRun]:
    """Return the last ``runs`` inferences of a profile; earlier ones are the warm-up.

    Raises BackendError for an incomplete profile.
    """
    try:
        content = read_json(file, max_bytes)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise BackendError(f"{SOURCE}: {error.strerror}; {_FEWER_RUNS}") from error
        raise BackendError(
            f"{SOURCE}: its file cannot be read ({error.strerror}); check that this user may write "
            "into the folder for temporary files (TMPDIR)"
        ) from error
    except ValueError as error:
        raise BackendError(
            f"{SOURCE}: expected complete JSON, got a truncated or damaged file; free space in the "
            f"folder for temporary files (TMPDIR), or {_FEWER_RUNS}"
        ) from error
    return parse_ort_profile(content, runs)


def parse_ort_profile(content: Any, runs: int) -> list[RecordedRun]:
    """Return the last ``runs`` inferences; see :func:`read_ort_profile`."""
    if not isinstance(content, list):
        raise BackendError(f"{SOURCE}: expected a list of events, got {type(content).__name__}")
    events = [event for event in content if isinstance(event, Mapping)]
    found = [_times(event) for event in events if event.get("name") == _RUN]
    nodes = sorted(_nodes(events), key=lambda node: (node.begin_us, -node.duration_us))
    begins = [node.begin_us for node in nodes]
    recorded = [
        RecordedRun(begin, duration, _within(nodes, begins, begin, begin + duration))
        for begin, duration in sorted(found)
    ]
    if len(recorded) < runs or not all(run.nodes for run in recorded):
        complete = sum(bool(run.nodes) for run in recorded)
        raise BackendError(
            f"{SOURCE}: expected {runs} complete inferences, got {complete}: it keeps a limited "
            f"number of events; {_FEWER_RUNS}"
        )
    return recorded[-runs:]


def summarize_recorded(
    runs: Sequence[RecordedRun], in_file: Collection[tuple[str, str]] = ()
) -> LayerProfile:
    """Return the profile of recorded inferences.

    ``in_file`` are name and operator of the nodes in the model file; empty if they are not known.
    """
    kinds: dict[str, LayerKind] = {}
    measured = []
    for run in runs:
        sums: dict[str, float] = {}
        for node in run.nodes:
            # Names need not be unique in a file.
            key = f"{node.name} {node.arguments.get('node_index')}"
            if key not in kinds:
                kinds[key] = _kind(node, in_file)
            sums[key] = sums.get(key, 0.0) + node.self_us / 1e3
        measured.append(MeasuredRun(run.duration_us / 1e3, sums))
    return summarize_runs(SOURCE, kinds, measured)


def _nodes(events: Sequence[Mapping[str, Any]]) -> Iterator[NodeEvent]:
    for event in events:
        arguments = event.get("args")
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_KERNEL) and isinstance(arguments, Mapping):
            yield NodeEvent(name.removesuffix(_KERNEL), *_times(event), arguments)


def _times(event: Mapping[str, Any]) -> tuple[int, int]:
    begin, duration = event.get("ts"), event.get("dur")
    if not isinstance(begin, int) or not isinstance(duration, int) or duration < 0:
        raise BackendError(
            f"{SOURCE}: event {event.get('name')!r}: expected ts and dur in whole microseconds, "
            f"got {begin!r} and {duration!r}"
        )
    return begin, duration


def _within(
    nodes: Sequence[NodeEvent], begins: Sequence[int], begin_us: int, end_us: int
) -> tuple[NodeEvent, ...]:
    """Return the nodes of a run; the time of inner nodes is taken from those around them."""
    first, last = bisect.bisect_left(begins, begin_us), bisect.bisect_right(begins, end_us)
    inside = [node for node in nodes[first:last] if node.end_us <= end_us]
    around: list[NodeEvent] = []
    for node in inside:
        while around and node.begin_us >= around[-1].end_us:
            around.pop()
        if around:
            around[-1].self_us -= min(node.duration_us, around[-1].self_us)
        around.append(node)
    return tuple(inside)


def _kind(node: NodeEvent, in_file: Collection[tuple[str, str]]) -> LayerKind:
    operator = node.operator
    inputs, outputs = (_tensors(node.arguments, f"{end}_type_shape") for end in ("input", "output"))
    return LayerKind(
        node.name,
        operator,
        _precision(operator, [kind for kind, _ in inputs or outputs]),
        outputs[0][0] if outputs and operator in _CONVERTERS else "",
        outputs[0][1] if outputs else (),
        str(node.arguments.get("provider", "")).removesuffix("ExecutionProvider"),
        any(part in operator for part in _WEIGHTED),
        # A node without a name got one from ONNX Runtime.
        bool(in_file) and not {(node.name, operator), ("", operator)} & set(in_file),
    )


def _tensors(arguments: Mapping[str, Any], key: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return precision and shape of each tensor; the profile has one {type: shape} for each."""
    value = arguments.get(key)
    found = []
    for entry in value if isinstance(value, list) else []:
        for kind, shape in entry.items() if isinstance(entry, Mapping) else ():
            lengths = shape if isinstance(shape, list) else []
            shape_of = tuple(length for length in lengths if isinstance(length, int))
            found.append((_PRECISIONS.get(kind, UNKNOWN), shape_of))
    return found


def _precision(operator: str, inputs: Sequence[str]) -> str:
    if any(part in operator for part in _INTEGER):
        return "int8"
    if operator == "MatMulNBits":
        return "int4"
    floats = [kind for kind in inputs if kind in _FLOATS]
    return next(iter(floats or inputs), UNKNOWN)

"""The profile of a model: a table for people, or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from edge_inference.cli.console_table import new_console, new_table, print_table
from edge_inference.observe.profiling.layer_advice import LayerAdvice, ProfiledEngine
from edge_inference.observe.profiling.layer_measurement import MeasuredLayers
from edge_inference.observe.profiling.layer_profile import UNKNOWN, LayerProfile, LayerTime

_PIPE_WIDTH = 140
_OPERATORS_SHOWN = 8
_LAYERS_NAMED = 3
_MAX_NAME = 60


def print_layers(
    engine: ProfiledEngine,
    measured: MeasuredLayers,
    advice: Sequence[LayerAdvice],
    top: int,
    stream: TextIO,
) -> None:
    """Print the longest layers, the operators, and what to do."""
    console = new_console(stream, _PIPE_WIDTH)
    profile = measured.profile
    for line in _headlines(engine, measured):
        console.print(Text(line), soft_wrap=True)
    print_table(console, _layer_table(profile.longest(top), len(profile.layers), profile))
    print_table(console, _operator_table(profile))
    for line in _advice_lines(advice):
        console.print(Text(line), soft_wrap=True)


def print_layers_as_json(
    engine: ProfiledEngine,
    measured: MeasuredLayers,
    advice: Sequence[LayerAdvice],
    stream: TextIO,
) -> None:
    """Print one object a line: each layer in the order of execution, last a summary."""
    for layer in measured.profile.layers:
        stream.write(json.dumps(_layer_as_json(layer)) + "\n")
    stream.write(json.dumps({"summary": _summary_as_json(engine, measured, advice)}) + "\n")


def _headlines(engine: ProfiledEngine, measured: MeasuredLayers) -> Iterator[str]:
    profile = measured.profile
    yield f"{engine.model.name} on {engine.backend} in {engine.precision}: {measured.engine}"
    yield (
        f"one inference: {profile.run_ms:.2f} ms, of which {profile.layers_ms:.2f} ms in "
        f"{len(profile.layers)} layers; mean of the faster {profile.used} of {profile.runs} runs, "
        f"from {profile.source}"
    )
    memory = measured.gpu_memory
    yield "GPU memory: " + (
        "not measured (no GPU in use)"
        if memory is None
        else f"{memory.used_mib:.0f} of {memory.total_mib:.0f} MiB in use, by all processes"
    )


def _layer_table(longest: Sequence[LayerTime], count: int, profile: LayerProfile) -> Table:
    table = new_table(f"longest {len(longest)} of {count}", "ms", "share", "sum")
    for name in ("operator", "precision", "output", "on"):
        table.add_column(name, no_wrap=True)
    total = 0.0
    for layer in longest:
        total += layer.share
        kind = layer.kind
        table.add_row(
            Text(_shorten(layer.name)),
            f"{layer.ms:.3f}",
            f"{layer.share:.1%}",
            f"{total:.1%}",
            kind.operator,
            f"{kind.precision} -> {kind.converts_to}" if kind.converts_to else kind.precision,
            "x".join(map(str, kind.output)),
            kind.device,
        )
    return table


def _operator_table(profile: LayerProfile) -> Table:
    table = new_table("operator", "layers", "ms", "share")
    operators = profile.by_operator()
    if set(operators) == {UNKNOWN}:
        return table
    for operator, (count, ms) in list(operators.items())[:_OPERATORS_SHOWN]:
        share = ms / profile.run_ms if profile.run_ms else 0.0
        table.add_row(Text(operator), str(count), f"{ms:.3f}", f"{share:.1%}")
    between_ms = profile.run_ms - profile.layers_ms
    share = between_ms / profile.run_ms if profile.run_ms else 0.0
    table.add_section()
    table.add_row("between the layers", "", f"{between_ms:.3f}", f"{share:.1%}")
    return table


def _advice_lines(advice: Sequence[LayerAdvice]) -> Iterator[str]:
    if not advice:
        yield "nothing to change: no group of layers costs time for a known reason"
    for entry in advice:
        named = ", ".join(map(_shorten, entry.layers[:_LAYERS_NAMED]))
        more = len(entry.layers) - _LAYERS_NAMED
        others = f" and {more} more" if more > 0 else ""
        yield (
            f"{entry.title}: {len(entry.layers)} layers, {entry.ms:.2f} ms ({entry.share:.1%}): "
            f"{named}{others}"
        )
        yield f"  {entry.action}"


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"…{name[-_MAX_NAME + 1 :]}"


def _layer_as_json(layer: LayerTime) -> dict[str, Any]:
    kind = layer.kind
    return {
        "layer": layer.name,
        "operator": None if kind.operator == UNKNOWN else kind.operator,
        "precision": None if kind.precision == UNKNOWN else kind.precision,
        "converts_to": kind.converts_to or None,
        "output": list(kind.output) or None,
        "device": kind.device or None,
        "ms": layer.ms,
        "share": layer.share,
    }


def _summary_as_json(
    engine: ProfiledEngine, measured: MeasuredLayers, advice: Sequence[LayerAdvice]
) -> dict[str, Any]:
    profile, memory = measured.profile, measured.gpu_memory
    return {
        "model": engine.model.name,
        "backend": engine.backend,
        "precision": engine.precision,
        "engine": measured.engine,
        "source": profile.source,
        "runs": profile.runs,
        "used_runs": profile.used,
        "inference_ms": profile.run_ms,
        "layers": len(profile.layers),
        "layers_ms": profile.layers_ms,
        "operators": {
            operator: {"layers": count, "ms": ms}
            for operator, (count, ms) in profile.by_operator().items()
        },
        "gpu_memory_mib": None if memory is None else memory.used_mib,
        "advice": [
            {
                "title": entry.title,
                "layers": list(entry.layers),
                "ms": entry.ms,
                "share": entry.share,
                "action": entry.action,
            }
            for entry in advice
        ],
    }

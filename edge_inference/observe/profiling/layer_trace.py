"""Makes a trace of the layers of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence

from edge_inference.observe.profiling.layer_profile import LayerProfile
from edge_inference.observe.profiling.ort_profile import RecordedRun
from edge_inference.observe.profiling.trace_events import TraceEvents


def trace_runs(runs: Sequence[RecordedRun], engine: str) -> TraceEvents:
    """Return the trace of ONNX Runtime's record: each inference with its nodes."""
    events = TraceEvents(runs[0].begin_us * 1000 if runs else 0, engine=engine)
    pid = os.getpid()
    events.process(pid, engine)
    for number, run in enumerate(runs, start=1):
        end_us = run.begin_us + run.duration_us
        tid = events.slice(
            pid, "layers", f"inference {number}", run.begin_us * 1000, end_us * 1000, "inference"
        )
        for node in run.nodes:
            events.nested_slice(
                pid,
                tid,
                node.name,
                node.begin_us * 1000,
                node.end_us * 1000,
                "layer",
                operator=node.operator,
            )
    return events


def trace_profile(profile: LayerProfile, engine: str) -> TraceEvents:
    """Return the trace of an inference of which only the durations of layers were measured.

    The layers are laid end to end in their order, and the row says so.
    """
    events = TraceEvents(0, engine=engine, starts="not measured; layers are laid end to end")
    pid = os.getpid()
    events.process(pid, engine)
    begin_ns = 0
    for layer in profile.layers:
        end_ns = begin_ns + round(layer.ms * 1e6)
        events.slice(
            pid,
            "layers, end to end (starts are not measured)",
            layer.name,
            begin_ns,
            end_ns,
            "layer",
            operator=layer.kind.operator,
            precision=layer.kind.precision,
        )
        begin_ns = end_ns
    return events

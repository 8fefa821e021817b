"""The time of one inference of several ONNX files, measured interleaved on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_inference.backends.base import Backend
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.interleaved_timing import time_interleaved

DEFAULT_RUNS = 30


def measure_files(
    files: Mapping[str, Path],
    inputs: Mapping[str, Mapping[str, NDArray[Any]]],
    runs: int = DEFAULT_RUNS,
    after_round: Callable[[float], None] = lambda fraction: None,
    model: ModelDescription | None = None,
    threads: int = 1,
) -> dict[str, Spread]:
    """Return the time of an inference of each file in ONNX Runtime.

    ``inputs`` has the input of each file by the same name. All files run in turn. With one
    thread its CPU time counts, so that other load hardly changes the ratio of two files; with
    more ``threads`` the wall time. With ``model`` an input becomes that of the graph as its
    description says. Raises what opening a file and an inference raise.
    """
    clock = time.thread_time_ns if threads == 1 else time.perf_counter_ns
    with ExitStack() as stack:
        sides = {
            name: _side(stack.enter_context(_open(file, model, threads)), inputs[name])
            for name, file in files.items()
        }
        milliseconds = time_interleaved(sides, runs, now_ns=clock, after_round=after_round)
    return {name: Spread.of([each / 1e3 for each in found]) for name, found in milliseconds.items()}


def _open(file: Path, model: ModelDescription | None, threads: int) -> Backend:
    backend = OrtBackend(file, threads=threads)
    return backend if model is None else backend.fit_to(model)


def _side(backend: Backend, inputs: Mapping[str, NDArray[Any]]) -> Callable[[int], object]:
    return lambda turn: backend.infer(inputs)

"""Finds nodes whose values do not fit fp16, by running the network in fp32 on real images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifacts import Cancelled
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.fp16 import MAX_FP16
from edge_inference.errors import CancelledError, SourceError
from edge_inference.optimize.calibrate import ImageCountCallback
from edge_inference.optimize.intermediate_tensors import IntermediateTensors

#: Safety factor: other images can lead to larger values.
HEADROOM = 2.0
#: Below this, fp16 keeps fewer than 8 of 11 bits: its numbers are multiples of 2 ** -24.
MIN_FP16 = 2.0**-16


def find_overflows(
    onnx_file: Path,
    input_name: str,
    batches: Iterable[NDArray[Any]],
    progress: ImageCountCallback | None = None,
    *,
    cancelled: Cancelled = lambda: False,
    description: ModelDescription | None = None,
) -> dict[str, float]:
    """Return the nodes that must stay in fp32, each with the largest value of such a tensor.

    A node must stay in fp32 if it reads or writes a tensor whose largest absolute value, times
    HEADROOM, exceeds the largest fp16 number (65504), or is below MIN_FP16 but not 0. Raises what
    ``calibrate.calibrate`` raises.
    """
    model = fold(onnx_file)
    activations = IntermediateTensors(model, input_name, description)
    largest: dict[str, float] = {}
    count = 0
    for batch in batches:
        if cancelled():
            raise CancelledError(f"{onnx_file}: the search for overflows was cancelled")
        for name, values in activations.run(batch):
            if values.size:
                value = float(np.abs(values).max())
                # Comparisons with NaN are false: a NaN replaces the maximum and stays.
                known = largest.get(name, 0.0)
                largest[name] = value if not value <= known else known
        count += len(batch)
        if progress is not None:
            progress(count)
    if not count:
        raise SourceError("search for overflows: expected at least one image, got none")
    unfit = {
        name: value
        for name, value in largest.items()
        if value and not MIN_FP16 <= value <= MAX_FP16 / HEADROOM
    }
    nodes = {}
    for node in model.graph.node:
        values_at = [unfit[name] for name in (*node.input, *node.output) if name in unfit]
        if values_at:
            nodes[node.name] = max(values_at)
    return nodes

"""Which nodes fp16 has no room for: found by running the network in fp32 on real images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.fp16 import LARGEST
from edge_inference.errors import CancelledError, SourceError
from edge_inference.optimize.activations import Activations
from edge_inference.optimize.calibrate import Cancelled, Progress

#: Other images give larger values than those tried.
HEADROOM = 2.0


def find_overflows(
    onnx_file: Path,
    input_name: str,
    batches: Iterable[NDArray[Any]],
    progress: Progress | None = None,
    *,
    cancelled: Cancelled = lambda: False,
) -> dict[str, float]:
    """Return the nodes that must stay in fp32, each with the largest value at it.

    Those are the nodes that give or take a tensor whose largest absolute value
    comes within HEADROOM of what fp16 holds (65504). Raises what
    ``calibrate.calibrate`` raises.
    """
    model = fold(onnx_file)
    activations = Activations(model, input_name)
    largest: dict[str, float] = {}
    count = 0
    for batch in batches:
        if cancelled():
            raise CancelledError(f"{onnx_file}: the search for overflows was cancelled")
        for name, values in activations.run(batch):
            if values.size:
                found = float(np.abs(values).max())
                # A NaN is no smaller than the limit, and stays.
                largest[name] = found if not found <= largest.get(name, 0.0) else largest[name]
        count += len(batch)
        if progress is not None:
            progress(count)
    if not count:
        raise SourceError("search for overflows: expected at least one image, got none")
    too_large = {name: value for name, value in largest.items() if not value <= LARGEST / HEADROOM}
    nodes = {}
    for node in model.graph.node:
        values_at = [too_large[name] for name in (*node.input, *node.output) if name in too_large]
        if values_at:
            nodes[node.name] = max(values_at)
    return nodes

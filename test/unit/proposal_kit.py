"""What is known of models with given outputs, and how a proposal decodes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_inference.core import decoders
from edge_inference.core.exports.exporter_metadata import read_exporter_metadata
from edge_inference.core.exports.onnx_summary import GraphTensor, OnnxSummary
from edge_inference.core.exports.proposal import Evidence, Proposal
from edge_inference.core.exports.sidecars import Sidecars
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.settings import rules

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
#: The object: class, score and box x1, y1, x2, y2 in pixels of the input.
CLASS, SCORE, BOX = 3, 0.75, (8.0, 16.0, 40.0, 48.0)
CENTER = (24.0, 32.0, 32.0, 32.0)
UNIT = [value / SIDE for value in BOX]
ULTRALYTICS = {"author": "Ultralytics", "names": str(dict(enumerate("abcdefg"))), "stride": "32"}

Arrays = Mapping[str, np.ndarray]


def evidence(
    outputs: Arrays,
    *,
    metadata: Mapping[str, str] | None = None,
    sidecars: Sidecars | None = None,
    operators: tuple[str, ...] = (),
    ends: Mapping[str, str] | None = None,
    extra: tuple[str, ...] = (),
    labels: tuple[str, ...] = (),
    name: str = "input",
    dtype: str = "float32",
    layout: tuple[int, ...] = (1, 3, SIDE, SIDE),
    stem: str = "model",
    scaling: tuple[str, tuple[float, ...]] | None = None,
) -> Evidence:
    """Return what is known of a model with these outputs."""
    image = GraphTensor(name, dtype, layout)
    others = tuple(GraphTensor(each, "float32", (1, 2)) for each in extra)
    summary = OnnxSummary(
        ir_version=8,
        opsets={"": 17},
        producer="",
        metadata=metadata or {},
        inputs=(image, *others),
        outputs=(),
        output_operators=ends or {},
        operators=frozenset(operators),
        first_scaling=scaling,
    )
    return Evidence(
        stem=stem,
        summary=summary,
        metadata=read_exporter_metadata(metadata or {}),
        sidecars=sidecars or Sidecars(),
        image=image,
        extra=others,
        width=SIDE,
        height=SIDE,
        outputs=outputs,
        labels=labels,
    )


def floats(*values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def rows(count: int, *values: float) -> np.ndarray:
    """Return [1, count, K] of zeros with the values in row 1."""
    table = np.zeros((1, count, len(values)), np.float32)
    table[0, 1] = values
    return table


def scores(classes: int, first: int = 0) -> list[float]:
    """Return one score for each class."""
    return [SCORE if number == CLASS + first else 0.0 for number in range(classes)]


def ultralytics(**more: str) -> dict[str, str]:
    return {**ULTRALYTICS, "task": "detect", **more}


def decode(proposal: Proposal, outputs: Arrays) -> Any:
    """Decode as a model with the proposal would, where source and input are the same."""
    entry = decoders.find(proposal.decoder)
    known = rules(entry.settings_class)
    settings = entry.settings_class(
        **{key: known[key].convert(value) for key, value in proposal.settings.items()}
    )
    geometry = Geometry(SIDE, SIDE, 1.0, 1.0, 0.0, 0.0)
    context = decoders.DecodeContext(proposal.labels, geometry, SIDE, SIDE, "model")
    return entry.function(outputs, context, settings)


def input_spec(proposal: Proposal) -> InputSpec:
    """Return the input as a model with the proposal would have it."""
    known = rules(InputSpec)
    keys = {"name": "x", "width": SIDE, "height": SIDE, **proposal.input}
    return InputSpec(**{key: known[key].convert(value) for key, value in keys.items()})

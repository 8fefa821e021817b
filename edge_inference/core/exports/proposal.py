"""What is known of a model before it has a description, and what is proposed for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.exports.exporter_metadata import ExporterMetadata
from edge_inference.core.exports.onnx_summary import GraphTensor, OnnxSummary
from edge_inference.core.exports.sidecars import Sidecars

#: The normalization of the models of torchvision, timm and most of Transformers, for 0 to 255.
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
#: Pixels from 0 to 1.
UNIT = {"mean": [0.0], "std": [255.0]}
#: Pixels unchanged.
RAW = {"mean": [0.0], "std": [1.0]}

_INT8_VALUES = 256
_MAX_SCORE_STEP = 0.1

CHECK_IT = "check it with a known image"


@dataclass(frozen=True)
class Evidence:
    """What is known of a model.

    ``outputs`` are those of one trial run, batch axis first, in the order of the graph;
    ``width`` and ``height`` are the size that the trial image had in the tensor.
    """

    stem: str
    summary: OnnxSummary
    metadata: ExporterMetadata
    sidecars: Sidecars
    image: GraphTensor
    extra: tuple[GraphTensor, ...]
    width: int
    height: int
    outputs: Mapping[str, NDArray[Any]]
    labels: tuple[str, ...] = ()

    def named(self, *words: str) -> Iterator[str]:
        """Yield the names of the outputs that contain one of the words."""
        for name in self.outputs:
            if any(word in name.lower() for word in words):
                yield name

    def first(self, *words: str, axes: int) -> str | None:
        """Return the first output with one of the words and that many axes."""
        found = (name for name in self.named(*words) if self.outputs[name].ndim == axes)
        return next(found, None)

    @property
    def is_integer_input(self) -> bool:
        """Tell whether the input takes unchanged pixels."""
        return self.image.dtype not in ("float32", "float16", "float64")


@dataclass(frozen=True)
class Proposal:
    """A description of a model. ``assumed`` says, by key of model.yaml, what is not certain."""

    family: str
    task: str
    decoder: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    assumed: Mapping[str, str] = field(default_factory=dict)

    def assuming(self, texts: Mapping[str, str]) -> Proposal:
        """Return the proposal with further assumptions."""
        return replace(self, assumed={**self.assumed, **texts})

    def in_color(self, color: str) -> Proposal:
        """Return the proposal, which is for three channels, for an input of RGB, GRAY or RGBA."""
        if color == "RGB":
            return self
        mean, std = self.input["mean"], self.input["std"]
        assumed = {key: text for key, text in self.assumed.items() if key != "input.color"}
        notes = [assumed["input.mean"]] if "input.mean" in assumed else []
        if color == "RGBA":
            color = f"{self.input['color']}A"
            assumed["input.color"] = f"assumed {color}, as the input has 4 channels; {CHECK_IT}"
            if len(mean) > 1:
                mean, std = [*mean, 0.0], [*std, 255.0]
                notes.append("alpha assumed from 0 to 1")
        elif len(mean) > 1:
            mean, std = ([round(sum(values) / len(values), 4)] for values in (mean, std))
            notes.append("the average of the three channels, as the input is gray")
        if notes:
            assumed["input.mean"] = "; ".join(notes)
        image = {**self.input, "color": color, "mean": mean, "std": std}
        return replace(self, input=image, assumed=assumed)


def is_softmax(values: NDArray[Any]) -> bool:
    """Tell whether the last axis holds the result of a softmax."""
    if values.dtype.kind != "f" or values.shape[-1:] < (2,) or not values.size:
        return False
    sums = values.astype(np.float64).sum(axis=-1)
    return bool(values.min() >= 0 and np.abs(sums - 1).max() < 1e-2)


def are_within_unit(values: NDArray[Any]) -> bool:
    """Tell whether all values are from 0 to 1."""
    return bool(values.size and values.min() >= -1e-3 and values.max() <= 1 + 1e-3)


def read_numbers(values: object) -> list[float] | None:
    """Return one number, or one for each of three channels; None for anything else."""
    if not isinstance(values, list) or len(values) not in (1, 3):
        return None
    return values if all(isinstance(value, int | float) for value in values) else None


def count_cells(width: int, height: int, strides: tuple[int, ...] = (8, 16, 32)) -> int:
    """Return the number of grid cells of a detector without anchors."""
    return sum(-(-width // stride) * -(-height // stride) for stride in strides)


def find_lost_scores(outputs: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield a sentence for each output whose values are too few and too far apart for scores.

    A quantizer that includes the last concatenation of a YOLO model gives boxes in pixels and
    scores from 0 to 1 one scale.
    """
    for name, array in outputs.items():
        values = np.unique(array[np.isfinite(array)]) if array.dtype.kind == "f" else array[:0]
        if array.ndim < 3 or not 2 <= values.size <= _INT8_VALUES < array.size:
            continue
        step = float(np.diff(values).min())
        if step > _MAX_SCORE_STEP:
            yield (
                f"output {name!r:.100} has only {values.size} values, {step:.3g} apart: boxes and "
                "scores share one int8 scale, so that scores are lost; quantize again without "
                "the nodes after the last convolution (nodes_to_exclude of ONNX Runtime)"
            )


def pixels(evidence: Evidence, normalization: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the keys of ``input``; integer inputs take unchanged pixels."""
    scale = RAW if evidence.is_integer_input else normalization
    return {"color": "RGB", **scale, **more}

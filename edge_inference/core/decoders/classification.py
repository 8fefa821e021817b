"""Classification: one score per class for the whole image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders import checks
from edge_inference.core.decoders.activations import activate_once
from edge_inference.core.decoders.registry import DecodeContext, register
from edge_inference.core.results import Classification
from edge_inference.core.settings import setting
from edge_inference.errors import TensorError


@dataclass(frozen=True)
class ClassificationSettings:
    """Which classes are reported."""

    top_k: int = setting(5, "maximum number of classes reported", minimum=1, maximum=1000)
    confidence: float = setting(0.0, "minimum score reported", minimum=0.0, maximum=1.0)
    activation: str = setting(
        "softmax",
        "activation that converts the output to probabilities, unless they already are; none: the "
        "model applies it itself",
        choices=("softmax", "sigmoid", "none"),
        read_only=True,
    )
    scores_output: str = setting(
        "", "output with the class scores; empty: automatic", read_only=True
    )


@register("classification", ClassificationSettings)
def decode(
    outputs: Mapping[str, NDArray[Any]], context: DecodeContext, settings: ClassificationSettings
) -> Classification:
    """Decode scores ``[1, C]`` (or ``[1, C, 1, 1]``, ``[1, 1, 1, C]``), logits or probabilities.

    The activation is not applied to scores that are its result, as those of exporters that put
    a softmax at the end of the model.
    """
    output = checks.choose_output(
        outputs,
        settings.scores_output,
        setting="scores_output",
        expected="the class scores [1, C]",
        fits=lambda array: array.ndim == 2,
        keywords=("logit", "score", "prob", "class"),
    )
    if output.array.ndim == 4 and output.array.size == max(output.array.shape):
        output = checks.Output(output.name, output.array.reshape(1, -1))
    checks.expect_shape(output, (1, "C"), "name the class scores with scores_output in model.yaml")
    checks.expect_classes(output, output.array.shape[1], context.labels)
    if settings.activation == "softmax" and output.array.shape[1] == 1:
        raise TensorError(
            f"output {output.name!r}: expected several classes for a softmax, got one, whose score "
            "would always be 1; set activation to sigmoid or none in model.yaml"
        )
    scores = activate_once(settings.activation, checks.to_floats(output)[0])
    scores = checks.to_probabilities(output.name, scores)
    order = np.argsort(-scores, kind="stable")[: settings.top_k]
    order = order[scores[order] >= settings.confidence]
    return Classification(order.astype(np.int32), scores[order], context.labels, context.model)

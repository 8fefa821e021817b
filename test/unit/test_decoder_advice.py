"""Which advice comes with an error of a decoder: another decoder, or its own hint alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.core import decoders
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.fitting_decoders import advise_decoder
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.settings import build
from edge_inference.errors import TensorError

BOXES = np.array([[[0.1, 0.2, 0.4, 0.6], [0.5, 0.5, 0.9, 0.8]]], np.float32)
LISTS = {
    "labels": np.array([[0, 1]], np.int64),
    "boxes": BOXES,
    "scores": np.array([[0.9, 0.8]], np.float32),
}
NAMED = {"boxes_output": "boxes", "scores_output": "scores", "classes_output": "labels"}


def advice(decoder: str, settings: dict[str, Any], outputs: dict[str, NDArray[Any]] = LISTS) -> str:
    entry = decoders.find(decoder)
    model = ModelDescription(
        name="mine",
        folder=Path(),
        task="detection",
        description="",
        license="",
        source="",
        input=InputSpec("x", 64, 64),
        decoder=decoder,
        decoder_settings=build(entry.settings_class, settings),
        labels=(),
        variants={},
        golden=(),
    )
    geometry = Geometry(64, 64, 64, 64)
    with pytest.raises(TensorError) as caught:
        model.decode(outputs, geometry)
    return str(advise_decoder(caught.value, model, outputs, geometry))


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({**NAMED, "normalized": False}, "set normalized to true in model.yaml"),
        ({**NAMED, "scores_output": "score"}, "did you mean 'scores'?"),
    ],
)
def test_a_certain_hint_stands_alone(settings: dict[str, Any], hint: str) -> None:
    text = advice("detection_lists", settings)
    assert text.endswith(hint)
    assert "use " not in text


def test_another_decoder_is_named_first() -> None:
    text = advice("detr", {}, {**LISTS, "boxes": BOXES * 64})
    _, advised, *_ = text.split("; ")
    assert advised.startswith("use one of the decoders ")
    assert "detection_lists" in advised

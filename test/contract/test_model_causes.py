"""A model that does not fit its description: what differs, and the key that corrects it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.models.model import load_model
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine_check import check_engine
from edge_inference.engines.serving.selection import prepare
from edge_inference.errors import EdgeInferenceError
from wrong_models import MODELS

RUNS = ("good", "good with a size input", "softmax in the network")
#: What the sentence says is wrong, and what it advises, by cause.
WORDS = {
    "input name": ("no input 'images'; it has x: float32 [1, 3, 32, 32]", "correct input.name"),
    "input size": ("width is 64 and height is 64", "set input.width to 32 and input.height to 32"),
    "layout NHWC": ("[1, 32, 32, 3], but layout is NCHW", "set input.layout to NHWC"),
    "layout NCHW": ("[1, 3, 32, 32], but layout is NHWC", "set input.layout to NCHW"),
    "no batch axis": ("[3, 32, 32], but layout NCHW has 4 axes", "set input.layout to CHW"),
    "fixed batch": ("whose batch is fixed at 4, but batch is 1", "set input.batch to 4"),
    "uint8": ("uint8 [1, 3, 32, 32], but dtype is float32", "set input.dtype to uint8"),
    "float16": ("float16 [1, 3, 32, 32], but dtype is float32", "set input.dtype to float16"),
    "one channel": ("with 1 channels, but color RGB has 3", "set input.color to GRAY"),
    "four channels": ("with 4 channels, but color RGB has 3", "set input.color to RGBA or BGRA"),
    "second input": ("second input sizes: int64 [1, 2]", "extra_inputs: {sizes: [[0, 0]]}"),
    "value of no input": ("extra_inputs.sizes: the graph has no such input", "remove it"),
    "value of another shape": ("the shape [1, 2] as in the graph, got [1, 3]", "correct extra_"),
    "value of another type": ("values of int64 as in the graph, got [[1.5, 2.0]]", "can hold"),
    "logits for yolov8": ("expected scores from 0 to 1, got -9.", "with its sigmoid"),
    "logits for yolov5": ("expected scores from 0 to 1, got -9.", "with its sigmoid"),
    "logits for yolox": ("expected scores from 0 to 1, got -9.", "with its sigmoid"),
    "fewer labels": ("got [1, 7, 84]", "correct labels"),
    "more labels": ("for 4 labels, got [1, 7, 84]", "correct labels"),
    "other number of classes": ("expected 3 classes, one for each label, got 5", "correct labels"),
    "masks": ("got [1, 39, 84], the shape of a segmentation model", "export a detection model"),
    "keypoints": ("got [1, 56, 84], the shape of a pose model", "export a detection model"),
    "oriented boxes": ("[1, 8, 84], the shape of a model of oriented", "export a detection model"),
    "boxes from 0 to 1": ("got coordinates up to 0.99", "set normalized to true"),
    # Four coordinates at each of 84 places; the scores are read later.
    "not finite": ("expected finite values, got 336 of 336 that are not", "check mean and std"),
    "yolov8 for yolov5": ("got [1, 84, 8]", "use the decoder yolov5"),
    "yolov5 for yolov8": ("got 79", "use decoder yolov8"),
    "nanodet for yolov8": ("got [1, 7, 84]", "use the decoder yolov8, which can read these"),
    "ssd for yolov8": ("got [1, 7, 84]", "use the decoder yolov8, which can read these outputs"),
    "detr for yolov8": ("got [1, 7, 84]", "use the decoder yolov8, which can read these outputs"),
    "detection for classes": ("got [1, 3]", "use the task classification with the decoder class"),
    "classification for boxes": ("[1, 7, 84]", "use the task detection with the decoder yolov8"),
    "segmentation for classes": ("got [1, 3]", "use the task classification with the decoder cla"),
    "task of another decoder": ("the decoder yolov8 returns Detections", "set task to detection"),
    "key of a decoder": ("line 4, decoder.confidance: unknown key", "did you mean 'confidence'?"),
    "key at the top": ("line 7, golde: unknown key", "did you mean 'golden'?"),
    "name of a decoder": ("line 4, decoder.name: unknown decoder 'yolo8'", "mean 'yolov8'?"),
    "key of the input": ("line 3, input.heigth: unknown key", "did you mean 'height'?"),
}


def refusal(folder: Path) -> str:
    """Return the sentence with which a model is refused; an empty one for none."""
    try:
        selection = prepare(EngineRequest(load_model(folder), "ort", "fp32"))
        assert selection.backend is not None
        with selection.backend as engine:
            check_engine(selection, engine)
    except EdgeInferenceError as error:
        return str(error)
    return ""


def test_each_model_has_its_words() -> None:
    assert {*WORDS, *RUNS} == set(MODELS)


@pytest.mark.parametrize("cause", WORDS)
def test_what_is_wrong_and_what_helps(tmp_path: Path, cause: str) -> None:
    sentence = refusal(MODELS[cause].write(tmp_path / "mine"))
    what, hint = WORDS[cause]
    said, _, advised = sentence.partition("; ")
    assert what in sentence and hint in advised, sentence
    assert hint not in said
    assert "\n" not in sentence
    assert "nevertheless" not in sentence  # no parameter gives results to these
    if len(MODELS[cause].outputs) == 1:
        assert "name it with" not in sentence  # there is no other output to name


@pytest.mark.parametrize("cause", RUNS)
def test_a_model_that_fits_runs(tmp_path: Path, cause: str) -> None:
    assert refusal(MODELS[cause].write(tmp_path / "mine")) == ""

"""The outputs of exporters as they are: names, shapes and types, and what is told of a wrong one.

Each table is written value by value here, in the layout of its exporter, so that box, class and
score are known without the decoders.
"""

from __future__ import annotations

import numpy as np
import pytest

from edge_inference.errors import ConfigError, TensorError
from exporter_layouts import CAR, CAR_IN_SOURCE, LABELS, LAYOUTS, decode, f32, i32, i64, scaled


@pytest.mark.parametrize("name", LAYOUTS)
def test_box_class_and_score(name):
    decoder, outputs, *settings = LAYOUTS[name]
    result = decode(decoder, outputs, **(settings[0] if settings else {}))
    np.testing.assert_allclose(result.boxes, CAR_IN_SOURCE, atol=1e-3)
    np.testing.assert_allclose(result.scores, [0.8], rtol=1e-6)
    assert [result.label(0)] == ["car"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_confidence_is_the_lowest_score_that_is_reported(name):
    decoder, outputs, *settings = LAYOUTS[name]
    changed = dict(settings[0]) if settings else {}
    (score,) = decode(decoder, outputs, **changed).scores
    assert len(decode(decoder, outputs, **changed, confidence=float(score))) == 1
    higher = float(np.nextafter(score, f32(1)))
    assert len(decode(decoder, outputs, **changed, confidence=higher)) == 0


def test_class_numbers_beside_rows_of_several_images():
    box = [100, 50, 200, 100]
    rows = f32([[1, *box, 0.9], [0, 0, 0, 9, 9, 0.1], [0, *box, 0.8], [-1, *box, 0.7]])
    found = decode(
        "detection_rows",
        {"rows": rows, "classes": i64([0, 1, 2, 9])},
        columns=("batch", "x1", "y1", "x2", "y2", "score"),
    )
    assert found.class_ids.tolist() == [2]
    np.testing.assert_allclose(found.scores, [0.8], rtol=1e-6)


@pytest.mark.parametrize(
    ("decoder", "outputs"),
    [
        ("yolov7_end_to_end", {"output": np.zeros((0, 7), f32)}),
        ("yolo_nas_flat", {"output": np.zeros((0, 7), f32)}),
        ("paddle_detection", {"a": np.zeros((0, 6), f32), "b": np.zeros(1, i32)}),
        ("rtmdet", {"dets": np.zeros((1, 0, 5), f32), "labels": np.zeros((1, 0), i64)}),
        (
            "torchvision",
            {
                "boxes": np.zeros((0, 4), f32),
                "labels": np.zeros(0, i64),
                "scores": np.zeros(0, f32),
            },
        ),
        ("yolo_nas", {"boxes": np.zeros((1, 0, 4), f32), "scores": np.zeros((1, 0, 3), f32)}),
        ("yolov8", {"output0": np.zeros((1, 0, 6), f32)}),
        ("detr", {"boxes": np.zeros((1, 0, 4), f32), "logits": np.zeros((1, 0, 4), f32)}),
    ],
)
def test_no_rows_at_all(decoder, outputs):
    assert len(decode(decoder, outputs)) == 0


# Published by the authors: the anchors of YOLOv3, which YOLOv5 kept, and those of YOLOv7.
ANCHORS = {
    "yolov5_heads": "10,13 16,30 33,23 30,61 62,45 59,119 116,90 156,198 373,326",
    "yolov7_heads": "12,16 19,36 40,28 36,75 76,55 72,146 142,110 192,243 459,401",
    "yolov3_heads": "10,13 16,30 33,23 30,61 62,45 59,119 116,90 156,198 373,326",
}


@pytest.mark.parametrize("decoder", ANCHORS)
@pytest.mark.parametrize("which", range(9))
def test_a_head_yields_its_anchor_in_its_cell(decoder, which):
    heads = {str(s): np.full((1, 3, 320 // s, 320 // s, 8), -15, f32) for s in (8, 16, 32)}
    stride = (8, 16, 32)[which // 3]
    # Logits of 0 are a sigmoid of 1/2: the middle of the cell and the size of the anchor.
    heads[str(stride)][0, which % 3, 5, 4] = [0, 0, 0, 0, 20, -9, -9, 0]
    result = decode(decoder, heads)
    width, height = map(float, ANCHORS[decoder].split()[which].split(","))
    x, y = 4.5 * stride, 5.5 * stride
    left, right = max(x - width / 2, 0) * 2, min(x + width / 2, 320) * 2
    top, bottom = max(y - height / 2 - 40, 0) * 2, min(y + height / 2 - 40, 240) * 2
    np.testing.assert_allclose(result.boxes, [[left, top, right, bottom]], rtol=1e-5)
    np.testing.assert_allclose(result.scores, [0.5], rtol=1e-5)
    assert result.label(0) == "car"


def one(box, score, number, *, dtype=f32):
    return {
        "boxes": np.array([[box]], f32),
        "scores": np.array([[score]], f32),
        "classes": np.array([[number]], dtype),
    }


TOLD = {
    "normalized boxes called pixels": (
        "detection_lists",
        one(scaled(CAR), 0.8, 2),
        r"'boxes': expected boxes in pixels of the input of 320 x 320.*0.5; set normalized to true",
    ),
    "pixels called normalized": (
        "tflite_detection",
        one(CAR, 0.8, 2),
        r"'boxes': expected boxes from 0 to 1, got coordinates up to 160; set normalized to false",
    ),
    "normalized rows": (
        "effdet",
        {"out": np.array([[[*scaled(CAR), 0.8, 3]]], f32)},
        "set normalized to true",
    ),
    "normalized YOLO": (
        "yolov5",
        {"out": np.array([[[0.2, 0.4, 0.3, 0.3, 1, 0, 0, 0.8]]], f32)},
        "set normalized to true",
    ),
    "end to end in normalized boxes": (
        "yolov8",
        {"out": np.array([[[*scaled(CAR), 0.8, 2]]], f32)},
        "set normalized to true",
    ),
    "DETR in pixels": (
        "detr",
        {"pred_boxes": np.array([[CAR]], f32), "logits": np.array([[[0, 0, 9, 0]]], f32)},
        "from 0 to 1, got coordinates up to 160.*postprocessor",
    ),
    "centre and size called corners": (
        "detection_lists",
        one([160, 160, 80, 60], 0.8, 2),
        "x1 <= x2.*160, 160, 80, 60.*centre and size.*box_order",
    ),
    "rows of centre and size": (
        "effdet",
        {"out": np.array([[[160, 160, 80, 60, 0.8, 3]]], f32)},
        "centre and size, so correct columns",
    ),
    "class and score exchanged": (
        "yolov7_end_to_end",
        {"out": np.array([[0, *CAR, 0.8, 0]], f32)},
        "whole class numbers, got 0.8",
    ),
    "score and class exchanged": (
        "yolo_nas_flat",
        {"out": np.array([[0, *CAR, 2, 0.8]], f32)},
        "scores from 0 to 1, got 2 to 2",
    ),
    "a column too few": (
        "efficientdet",
        {"out": np.array([[[*CAR, 0.8, 3]]], f32)},
        r"rows \[1, N, 7\].*got \[1, 1, 6\]; correct columns",
    ),
    "not a number of an image": (
        "yolov7_end_to_end",
        {"out": np.array([[20.5, *CAR, 2, 0.8]], f32)},
        "numbers of images from 0 in column batch, got 20.5.*unused",
    ),
    "an image id of a dataset": (
        "yolov7_end_to_end",
        {"out": np.array([[139, *CAR, 2, 0.8]], f32)},
        "column batch, got 139.*unused",
    ),
    "class 0 is an object": (
        "torchvision",
        one(CAR, 0.8, 0, dtype=i64),
        "no box of class 0, the background, got 1 of 1.*set background to false",
    ),
    "classes from 1": (
        "detection_lists",
        one(CAR, 0.8, 3),
        "class numbers 0 to 2, got 3; set background to true in model.yaml if class 1 is the first",
    ),
    "classes beyond the labels": (
        "detection_lists",
        one(CAR, 0.8, 17),
        "class numbers 0 to 2, got 17; correct labels",
    ),
    "a negative class": ("detection_lists", one(CAR, 0.8, -1), "class numbers 0 to 2, got -1"),
    "not finite": ("detection_lists", one([20, 80, np.nan, 160], 0.8, 2), "'boxes'.*finite"),
    "a class that is not finite": ("detection_lists", one(CAR, 0.8, np.nan), "'classes'.*finite"),
    "two batches": (
        "detection_lists",
        {name: np.concatenate([a, a]) for name, a in one(CAR, 0.8, 2).items()},
        "boxes",
    ),
    "scores for other boxes": (
        "detection_lists",
        {**one(CAR, 0.8, 2, dtype=i64), "scores": np.zeros((1, 7), f32)},
        r"one output with scores \[1, 1\]",
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_does_not_fit_is_told(name):
    decoder, outputs, reason = TOLD[name]
    with pytest.raises(TensorError, match=rf"{reason}.*") as raised:
        decode(decoder, outputs)
    assert "model.yaml" in str(raised.value)


@pytest.mark.parametrize("decoder", ["torchvision", "ssd"])
@pytest.mark.parametrize("name", ["background", "__background__", "BG"])
def test_a_label_for_the_background_is_told(decoder, name):
    with pytest.raises(TensorError, match=f"'{name}'; remove it from labels, or set background"):
        decode(decoder, one(CAR, 0.8, 3), labels=(name, *LABELS))


def test_a_label_for_the_background_is_kept_where_it_is_a_class():
    labels = ("__background__", *LABELS)
    result = decode("torchvision", one(CAR, 0.8, 3), labels=labels, background=False)
    assert result.label(0) == "car"
    with pytest.raises(TensorError, match=r"class 0, the background.*remove the label"):
        decode("detection_lists", one(CAR, 0.8, 0), labels=labels)


@pytest.mark.parametrize("background", [False, True])
def test_a_label_for_the_background_of_class_scores(background):
    outputs = {"boxes": np.array([[CAR]], f32), "scores": np.array([[[0.1, 0, 0, 0.8]]], f32)}
    with pytest.raises(TensorError, match="remove it from labels, and set background to true"):
        decode("yolo_nas", outputs, labels=("background", *LABELS), background=background)
    assert decode("yolo_nas", outputs, background=True).label(0) == "car"


YOLO_KINDS = {
    "segmentation": (1, {"output0": (1, 37, 2100), "output1": (1, 32, 80, 80)}, "-seg"),
    "segmentation of 80": (80, {"output0": (1, 116, 2100), "output1": (1, 32, 80, 80)}, "-seg"),
    "segmentation without labels": (0, {"o": (1, 37, 2100), "p": (1, 32, 80, 80)}, "-seg"),
    "segmentation end to end": (1, {"o": (1, 300, 38), "p": (1, 32, 80, 80)}, "-seg"),
    "pose": (1, {"output0": (1, 56, 2100)}, r"\(-pose\) with 17 keypoints"),
    "pose end to end": (1, {"output0": (1, 300, 57)}, r"\(-pose\) with 17 keypoints"),
    "oriented boxes": (15, {"output0": (1, 20, 2100)}, "-obb"),
    "oriented boxes end to end": (15, {"output0": (1, 300, 7)}, "-obb"),
    "objectness": (80, {"output0": (1, 6300, 85)}, "use decoder yolov5 in"),
    "other labels": (3, {"output0": (1, 84, 2100)}, r"\[1, 7, N\] or \[1, N, 7\] or \[1, N, 6\]"),
    "labels of another model": (2, {"o": (1, 84, 2100)}, "pose.*, or of 80 classes"),
    "two labels": (2, {"output0": (1, 83, 2100)}, r"\[1, 6, N\] or \[1, N, 6\] for 2 labels"),
    "heads": (80, {str(s): (1, 3, s, s, 85) for s in (10, 20, 40)}, "use decoder yolov5_heads"),
    "rows": (80, {"output": (4, 7)}, "use decoder yolov7_end_to_end"),
    "no class": (0, {"output0": (1, 4, 2100)}, "at least one class, got 0"),
}


@pytest.mark.parametrize("name", YOLO_KINDS)
def test_yolov8_says_what_another_model_is(name):
    count, shapes, reason = YOLO_KINDS[name]
    outputs = {output: np.zeros(shape, f32) for output, shape in shapes.items()}
    with pytest.raises(TensorError, match=reason) as raised:
        decode("yolov8", outputs, labels=tuple(f"c{i}" for i in range(count)))
    assert "model.yaml" in str(raised.value)


def test_yolov5_says_that_a_model_is_for_segmentation():
    outputs = {"output0": np.zeros((1, 6300, 117), f32), "output1": np.zeros((1, 32, 80, 80), f32)}
    with pytest.raises(TensorError, match="-seg"):
        decode("yolov5", outputs, labels=tuple(f"c{i}" for i in range(80)))


def test_angles_are_not_class_scores():
    output = np.zeros((1, 20, 2100), f32)
    output[0, 19, 7] = -0.3  # an angle
    with pytest.raises(TensorError, match="not one for masks, keypoints or oriented boxes"):
        decode("yolov8", {"output0": output}, labels=())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"columns": ["x1", "y1", "x2", "y2", "class"]}, "columns: expected a score"),
        ({"columns": ["x1", "y1", "w", "y2", "score"]}, "columns: expected x1, y1, x2, y2, or cx"),
        ({"columns": ["x1", "x1", "y1", "x2", "y2", "score"]}, "expected every value once"),
        ({"columns": ["left"]}, "columns: expected a list, each entry one of"),
    ],
)
def test_columns_without_meaning_are_refused(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        decode("detection_rows", {}, **settings)

"""Object detectors: known boxes are written as each family's exporter would, then decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from edge_inference.core.decoders import DecodeContext, find
from edge_inference.core.geometry import Geometry
from edge_inference.core.settings import build
from edge_inference.errors import ConfigError, TensorError

SIZE = 416
LABELS = ("cat", "dog", "person")
LETTERBOX = Geometry(1280, 720, 0.325, 0.325, 0.0, 91.0)
BOXES = np.array(
    [[100, 50, 300, 600], [640.5, 400.25, 900, 700], [1000, 10, 1270, 200]], np.float32
)
IDS = np.array([2, 1, 0])
SCORES = np.array([0.9, 0.75, 0.6], np.float32)
NOTHING = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))


def context(labels=LABELS, geometry=LETTERBOX):
    return DecodeContext(labels, geometry, SIZE, SIZE, "made-up")


def to_tensor(boxes, geometry=LETTERBOX):
    return geometry.points_to_tensor(boxes.reshape(-1, 2)).reshape(-1, 4)


def centre_form(boxes):
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def one_hot(ids, scores, count, classes=3):
    table = np.zeros((count, classes), np.float32)
    table[np.arange(len(ids)), ids] = scores
    return table


def logit(chance):
    return np.log(chance) - np.log1p(-chance)


def cells(stride):
    side = SIZE // stride
    return np.array([(x, y) for y in range(side) for x in range(side)], np.float32)


def place(box, taken, reach):
    """Find stride, index and cell for a box whose sides lie within ``reach`` cells."""
    centre = (box[:2] + box[2:]) / 2
    for stride in (8, 16, 32):
        column, row = (centre // stride).astype(int)
        index = row * (SIZE // stride) + column
        if (box[2:] - box[:2]).max() / 2 / stride < reach and (stride, index) not in taken:
            taken.add((stride, index))
            return stride, index, np.array([column, row], np.float32)
    raise AssertionError("no cell for this box")


def nanodet_levels(boxes, ids, scores, offset=0.5):
    made = {
        s: (np.zeros((len(cells(s)), 3), np.float32), np.zeros((len(cells(s)), 44), np.float32))
        for s in (8, 16, 32)
    }
    taken: set[tuple[int, int]] = set()
    for box, class_id, score in zip(boxes, ids, scores, strict=True):
        stride, index, cell = place(box, taken, 8.5)
        made[stride][0][index, class_id] = score
        centre = (cell + offset) * stride
        reach = np.concatenate([centre - box[:2], box[2:] - centre]) / stride
        bins = np.full((4, 11), -40, np.float32)
        low = reach.astype(int)
        bins[np.arange(4), low] = np.log(1 - (reach - low) + 1e-12)
        bins[np.arange(4), low + 1] = np.log(reach - low + 1e-12)
        made[stride][1][index] = bins.ravel()
    return made


def nanodet(boxes, ids, scores):
    levels = nanodet_levels(boxes, ids, scores)
    outputs = {f"cls_s{s}": levels[s][0][None] for s in (32, 8, 16)}
    return outputs | {f"dis_s{s}": levels[s][1][None] for s in (32, 8, 16)}


def nanodet_unnamed(boxes, ids, scores):
    levels = nanodet_levels(boxes, ids, scores)
    parts = [levels[s][k][None] for s in (8, 16, 32) for k in (1, 0)]
    return {str(700 + i): part for i, part in enumerate(parts)}


def nanodet_logits(boxes, ids, scores):
    outputs = nanodet(boxes, ids, scores)
    return {
        name: logit(np.clip(array, 1e-4, 1)).astype(np.float32) if "cls" in name else array
        for name, array in outputs.items()
    }


def nanodet_plus(boxes, ids, scores):
    levels = nanodet_levels(boxes, ids, scores, offset=0.0)
    return {"out": np.concatenate([np.hstack(levels[s]) for s in (8, 16, 32)])[None]}


def rows(boxes, ids, scores, count=50):
    table = np.zeros((count, 4), np.float32)
    table[:] = (5, 5, 4, 4)
    table[: len(boxes)] = centre_form(boxes)
    return table, one_hot(ids, scores, count)


def yolov5(boxes, ids, scores):
    table, classes = rows(boxes, ids, scores)
    objectness = np.full((len(table), 1), 0.01, np.float32)
    objectness[: len(boxes)] = 0.95
    return {"output0": np.hstack([table, objectness, classes / 0.95])[None]}


def yolov8(boxes, ids, scores):
    return {"output0": np.ascontiguousarray(np.hstack(rows(boxes, ids, scores)).T)[None]}


def yolov8_last(boxes, ids, scores):
    return {"output0": np.hstack(rows(boxes, ids, scores))[None]}


def yolov8_normalized(boxes, ids, scores):
    return {"output0": np.hstack(rows(boxes / SIZE, ids, scores))[None]}


def end_to_end(boxes, ids, scores):
    table = np.zeros((1, 300, 6), np.float32)
    table[0, : len(boxes)] = np.hstack([boxes, scores[:, None], ids[:, None]])
    return {"output0": table}


def yolox_decoded(boxes, ids, scores):
    table, classes = rows(boxes, ids, scores)
    return {"output": np.hstack([table, np.ones((len(table), 1), np.float32), classes])[None]}


def yolox(boxes, ids, scores):
    starts = {8: 0, 16: 2704, 32: 2704 + 676}
    table = np.zeros((2704 + 676 + 169, 8), np.float32)
    taken: set[tuple[int, int]] = set()
    for box, class_id, score in zip(boxes, ids, scores, strict=True):
        stride, index, cell = place(box, taken, 8.5)
        row = table[starts[stride] + index]
        row[:2] = (box[:2] + box[2:]) / 2 / stride - cell
        row[2:4] = np.log((box[2:] - box[:2]) / stride)
        row[4], row[5 + class_id] = 1, score
    return {"output": table[None]}


def ssd_boxes(boxes):
    table = np.zeros((50, 4), np.float32)
    table[: len(boxes)] = boxes[:, [1, 0, 3, 2]] / SIZE
    return table[None]


def ssd(boxes, ids, scores):
    return {
        "scores": one_hot(ids + 1, scores, 50, 4)[None],
        "boxes": ssd_boxes(boxes),
    }


def ssd_pixels(boxes, ids, scores):
    table = np.zeros((1, 50, 4), np.float32)
    table[0, : len(boxes)] = boxes
    return {"boxes": table, "scores": one_hot(ids, scores, 50)[None]}


def ssd_finished(boxes, ids, scores):
    classes, chances = np.ones((1, 50), np.float32), np.zeros((1, 50), np.float32)
    classes[0, : len(ids)], chances[0, : len(ids)] = ids + 1, scores
    # Rows past the count hold leftovers that must not be reported.
    chances[0, len(ids) :] = 0.99
    return {
        "detection_boxes:0": ssd_boxes(boxes),
        "detection_classes:0": classes,
        "detection_scores:0": chances,
        "num_detections:0": np.array([len(ids)], np.float32),
    }


def detr_boxes(boxes):
    table = np.full((100, 4), 0.01, np.float32)
    table[: len(boxes)] = centre_form(boxes) / SIZE
    return table[None]


def detr(boxes, ids, scores):
    chances = np.full((100, 4), 1e-7, np.float32)
    chances[:, 3] = 1
    chances[: len(ids), 3] = 1 - scores
    chances[np.arange(len(ids)), ids] = scores
    return {"logits": np.log(chances)[None] + 7, "pred_boxes": detr_boxes(boxes)}


def detr_sigmoid(boxes, ids, scores):
    chances = np.clip(one_hot(ids, scores, 100), 1e-5, 1)
    return {"pred_logits": logit(chances)[None], "pred_boxes": detr_boxes(boxes)}


@dataclass(frozen=True)
class Family:
    decoder: str
    encode: Callable[..., dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)


FAMILIES = {
    "nanodet": Family("nanodet", nanodet),
    "nanodet by shape": Family("nanodet", nanodet_unnamed),
    "nanodet logits": Family("nanodet", nanodet_logits, {"sigmoid_scores": False}),
    "nanodet plus": Family("nanodet", nanodet_plus, {"cell_offset": 0.0}),
    "yolov5": Family("yolov5", yolov5),
    "yolov8": Family("yolov8", yolov8),
    "yolo11": Family("yolo11", yolov8),
    "yolov8 channels last": Family("yolov8", yolov8_last),
    "yolov8 normalized": Family("yolov8", yolov8_normalized, {"normalized": True}),
    "end to end": Family("yolov8", end_to_end),
    "yolox": Family("yolox", yolox),
    "yolox decoded": Family("yolox", yolox_decoded, {"decoded": True}),
    "ssd": Family("ssd", ssd),
    "ssd pixels": Family(
        "ssd", ssd_pixels, {"box_order": "xyxy", "normalized": False, "background": False}
    ),
    "ssd finished": Family("ssd", ssd_finished),
    "detr": Family("detr", detr),
    "detr sigmoid": Family("detr", detr_sigmoid, {"activation": "sigmoid"}),
}
every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def decode(family, outputs, of=None, **settings):
    entry = find(family.decoder)
    return entry.function(
        outputs, of or context(), build(entry.settings_class, {**family.settings, **settings})
    )


@every_family
def test_nothing_found(family):
    result = decode(family, family.encode(*NOTHING))
    assert len(result) == 0
    assert result.boxes.shape == (0, 4)
    assert (result.source_width, result.source_height) == (1280, 720)


@every_family
def test_all_below_confidence(family):
    outputs = family.encode(to_tensor(BOXES), IDS, SCORES)
    assert len(decode(family, outputs, confidence=0.97)) == 0


@pytest.mark.parametrize("name", ["nanodet", "yolov5", "yolov8", "end to end", "yolox", "ssd"])
def test_a_score_equal_to_the_confidence_is_reported(name):
    outputs = FAMILIES[name].encode(to_tensor(BOXES), IDS, np.ones(3, np.float32))
    if name == "yolov5":
        outputs["output0"][0, :3, 4:] = np.minimum(outputs["output0"][0, :3, 4:] * 2, 1)
    assert len(decode(FAMILIES[name], outputs, confidence=1.0)) == 3


@every_family
def test_known_boxes_come_back(family):
    result = decode(family, family.encode(to_tensor(BOXES), IDS, SCORES))
    np.testing.assert_allclose(result.boxes, BOXES, atol=0.05)
    np.testing.assert_allclose(result.scores, SCORES, atol=1e-3)
    assert [result.label(i) for i in range(3)] == ["person", "dog", "cat"]
    assert (result.boxes.dtype, result.scores.dtype) == (np.float32, np.float32)
    assert (result.class_ids.dtype, result.model) == (np.int32, "made-up")


@every_family
def test_a_stretch_is_undone_too(family):
    stretch = Geometry(300, 900, SIZE / 300, SIZE / 900)
    boxes = np.array([[30, 100, 130, 500], [150, 500, 280, 880]], np.float32)
    outputs = family.encode(to_tensor(boxes, stretch), IDS[:2], SCORES[:2])
    result = decode(family, outputs, context(geometry=stretch))
    np.testing.assert_allclose(result.boxes, boxes, atol=0.1)


@every_family
def test_half_precision(family):
    outputs = {
        name: array.astype(np.float16)
        for name, array in family.encode(to_tensor(BOXES), IDS, SCORES).items()
    }
    np.testing.assert_allclose(decode(family, outputs).boxes, BOXES, atol=4)


@every_family
def test_only_chosen_classes(family):
    outputs = family.encode(to_tensor(BOXES), IDS, SCORES)
    result = decode(family, outputs, classes=["cat", "person"])
    assert result.class_ids.tolist() == [2, 0]


@every_family
def test_most_detections(family):
    outputs = family.encode(to_tensor(BOXES), IDS, SCORES)
    assert decode(family, outputs, max_detections=1).class_ids.tolist() == [2]


@every_family
def test_an_unknown_class_is_refused(family):
    with pytest.raises(ConfigError, match=r"'dgo' is no label.*did you mean 'dog'"):
        decode(family, family.encode(*NOTHING), classes=["dgo"])


@every_family
def test_boxes_in_the_padding_are_dropped(family):
    outputs = family.encode(np.array([[20, 10, 80, 60]], np.float32), IDS[:1], SCORES[:1])
    assert len(decode(family, outputs)) == 0


@every_family
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(family, bad):
    for name, array in family.encode(to_tensor(BOXES), IDS, SCORES).items():
        if array.ndim < 3:
            continue
        outputs = family.encode(to_tensor(BOXES), IDS, SCORES)
        outputs[name].reshape(-1)[-3] = bad
        with pytest.raises(TensorError, match=f"{name}.*finite.*model.yaml"):
            decode(family, outputs)


@every_family
def test_wrong_rank(family):
    for name in family.encode(*NOTHING):
        outputs = family.encode(*NOTHING)
        outputs[name] = outputs[name][..., None, None, None]
        if name.startswith("num"):  # optional: without it all boxes count
            continue
        with pytest.raises(TensorError, match=r"expected.*got.*model.yaml"):
            decode(family, outputs)


@every_family
def test_batch_of_two(family):
    outputs = {
        n: np.concatenate([a, a]) if a.ndim > 1 else a for n, a in family.encode(*NOTHING).items()
    }
    with pytest.raises(TensorError, match="expected"):
        decode(family, outputs)


@every_family
def test_labels_of_another_model(family):
    outputs = family.encode(to_tensor(BOXES), IDS, SCORES)
    with pytest.raises(TensorError, match=r"model\.yaml"):
        decode(family, outputs, context(labels=("cat",)))


@every_family
def test_no_outputs(family):
    with pytest.raises(TensorError, match="got none"):
        decode(family, {})


@every_family
def test_integers_are_no_scores(family):
    outputs = {n: a.astype(np.int32) for n, a in family.encode(*NOTHING).items()}
    with pytest.raises(TensorError, match="expected"):
        decode(family, outputs)


@every_family
def test_outputs_are_left_alone(family):
    outputs = family.encode(to_tensor(BOXES), IDS, SCORES)
    for array in outputs.values():
        array.flags.writeable = False
    decode(family, outputs)


@pytest.mark.parametrize("name", ["yolov5", "yolov8", "yolox decoded", "ssd"])
def test_one_object_found_twice_is_reported_once(name):
    family = FAMILIES[name]
    boxes = to_tensor(np.array([BOXES[0], BOXES[0] + 4, BOXES[0] + 8], np.float32))
    outputs = family.encode(boxes, np.array([2, 2, 1]), SCORES)
    assert decode(family, outputs).class_ids.tolist() == [2, 1]
    assert decode(family, outputs, class_agnostic=True).class_ids.tolist() == [2]
    assert decode(family, outputs, iou=1.0).class_ids.tolist() == [2, 2, 1]


@pytest.mark.parametrize("name", ["yolov5", "yolov8", "yolox", "ssd", "nanodet"])
def test_logits_where_scores_are_due(name):
    outputs = FAMILIES[name].encode(to_tensor(BOXES), IDS, SCORES * 9)
    with pytest.raises(TensorError, match=r"scores from 0 to 1.*model.yaml"):
        decode(FAMILIES[name], outputs)


@pytest.mark.parametrize("name", ["yolov8", "yolov8 channels last", "end to end", "yolov5"])
def test_a_model_without_labels(name):
    outputs = FAMILIES[name].encode(to_tensor(BOXES), IDS, SCORES)
    result = decode(FAMILIES[name], outputs, context(labels=()))
    assert [result.label(i) for i in range(3)] == ["2", "1", "0"]


def test_two_classes_make_six_columns_ambiguous():
    outputs = {"output0": np.zeros((1, 300, 6), np.float32)}
    family = FAMILIES["yolov8"]
    with pytest.raises(TensorError, match="channels_last and end_to_end all fit; set layout"):
        decode(family, outputs, context(labels=("a", "b")))
    for layout in ("channels_last", "end_to_end"):
        assert len(decode(family, outputs, context(labels=("a", "b")), layout=layout)) == 0


def test_end_to_end_class_without_label():
    outputs = end_to_end(to_tensor(BOXES), IDS + 5, SCORES)
    with pytest.raises(TensorError, match="expected class numbers 0 to 2, got 7"):
        decode(FAMILIES["end to end"], outputs)


def test_a_named_output_is_taken_and_a_missing_one_refused():
    family = FAMILIES["yolov8"]
    outputs = {"boxes": yolov8(to_tensor(BOXES), IDS, SCORES)["output0"]}
    outputs["other"] = np.zeros((1, 7, 9), np.float32)
    assert len(decode(family, outputs, boxes_output="boxes")) == 3
    with pytest.raises(TensorError, match=r"boxes and other look alike.*boxes_output"):
        decode(family, outputs)
    with pytest.raises(TensorError, match=r"'boxs' is missing.*did you mean 'boxes'"):
        decode(family, outputs, boxes_output="boxs")


def test_nanodet_names_for_every_stride():
    with pytest.raises(ConfigError, match="scores_outputs: expected 3 names"):
        decode(FAMILIES["nanodet"], {}, scores_outputs=["a"])


def test_nanodet_strides_of_another_size():
    with pytest.raises(TensorError, match=r"stride 64.*scores_outputs"):
        decode(FAMILIES["nanodet"], nanodet(*NOTHING), strides=[8, 16, 32, 64])


def test_nanodet_distances_without_four_sides():
    outputs = nanodet(*NOTHING)
    outputs["dis_s16"] = outputs["dis_s16"][..., :43]
    with pytest.raises(TensorError, match="'dis_s16': expected 4 distances"):
        decode(FAMILIES["nanodet"], outputs)


def test_yolox_box_of_infinite_size():
    outputs = yolox(to_tensor(BOXES), IDS, SCORES)
    outputs["output"][..., 2] = 500
    with pytest.raises(TensorError, match=r"'output'.*finite"):
        decode(FAMILIES["yolox"], outputs)


def test_ssd_background_is_never_reported():
    outputs = ssd_finished(to_tensor(BOXES), IDS, SCORES)
    outputs["detection_classes:0"][0, 0] = 0
    assert decode(FAMILIES["ssd finished"], outputs).class_ids.tolist() == [1, 0]


@pytest.mark.parametrize("count", [51, -1, np.nan])
def test_ssd_count_out_of_range(count):
    outputs = ssd_finished(to_tensor(BOXES), IDS, SCORES)
    outputs["num_detections:0"][0] = count
    with pytest.raises(TensorError, match=r"num_detections:0.*from 0 to 50"):
        decode(FAMILIES["ssd finished"], outputs)


def test_a_crop_reports_boxes_beyond_its_edge_within_the_picture():
    crop = Geometry(1280, 720, SIZE / 720, SIZE / 720, -280 * SIZE / 720, 0.0)
    boxes = np.array([[250, 100, 500, 400]], np.float32)
    outputs = yolov8(to_tensor(boxes, crop), IDS[:1], SCORES[:1])
    result = decode(FAMILIES["yolov8"], outputs, context(geometry=crop))
    np.testing.assert_allclose(result.boxes, boxes, atol=0.01)

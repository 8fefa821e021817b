"""Object detectors: known boxes are written as each family's exporter would, then decoded."""

from __future__ import annotations

import numpy as np
import pytest

from detector_outputs import (
    BOXES,
    FAMILIES,
    IDS,
    NOTHING,
    SCORES,
    SIZE,
    context,
    end_to_end,
    nanodet,
    ssd_finished,
    to_tensor,
    yolov8,
)
from edge_inference.core.decoders import (
    Candidates,
    OverlapSettings,
    find,
    select_best,
    select_non_overlapping,
    to_detections,
)
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.settings import build
from edge_inference.errors import ConfigError, TensorError

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
def test_known_boxes_are_decoded(family):
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
    with pytest.raises(ConfigError, match=r"'dgo' is not a label.*did you mean 'dog'"):
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
        if name.startswith("num") or name.endswith(
            "PostProcess:3"
        ):  # optional: without it all boxes count
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
def test_integer_scores_are_refused(family):
    outputs = {n: a.astype(np.int32) for n, a in family.encode(*NOTHING).items()}
    with pytest.raises(TensorError, match="expected"):
        decode(family, outputs)


@every_family
def test_outputs_are_not_modified(family):
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
def test_logits_instead_of_scores_are_rejected(name):
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


def test_a_named_output_is_chosen_and_a_missing_one_rejected():
    family = FAMILIES["yolov8"]
    outputs = {"boxes": yolov8(to_tensor(BOXES), IDS, SCORES)["output0"]}
    outputs["other"] = np.zeros((1, 7, 9), np.float32)
    assert len(decode(family, outputs, boxes_output="boxes")) == 3
    with pytest.raises(TensorError, match=r"boxes and other match.*boxes_output"):
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


@pytest.mark.parametrize(("decoded", "other"), [(True, "yolox"), (False, "yolox decoded")])
def test_yolox_says_whether_the_model_decodes_boxes(decoded, other):
    outputs = FAMILIES[other].encode(to_tensor(BOXES), IDS, SCORES)
    if other == "yolox decoded":  # as many rows as cells
        outputs["output"] = np.resize(outputs["output"], (1, 3549, 8))
    outputs["output"][0, :, 4] *= outputs["output"][0, :, 5:].max(axis=1) > 0
    with pytest.raises(TensorError, match=f"set decoded to {not decoded}".lower()):
        decode(FAMILIES["yolox"], outputs, decoded=decoded)


def test_ssd_background_is_never_an_object():
    outputs = ssd_finished(to_tensor(BOXES), IDS, SCORES)
    outputs["detection_classes:0"][0, 0] = 0
    with pytest.raises(TensorError, match=r"class 0.*got 1 of 3.*background to false"):
        decode(FAMILIES["ssd finished"], outputs)
    outputs["detection_scores:0"][0, 0] = 0.1  # below the confidence
    with pytest.raises(TensorError, match=r"class 0.*got 1 of 3.*background to false"):
        decode(FAMILIES["ssd finished"], outputs)
    outputs["detection_scores:0"][0, 0] = 0  # fills the list
    assert decode(FAMILIES["ssd finished"], outputs).class_ids.tolist() == [1, 0]


@pytest.mark.parametrize("count", [51, -1, np.nan])
def test_ssd_count_out_of_range(count):
    outputs = ssd_finished(to_tensor(BOXES), IDS, SCORES)
    outputs["num_detections:0"][0] = count
    with pytest.raises(TensorError, match=r"num_detections:0.*from 0 to 50"):
        decode(FAMILIES["ssd finished"], outputs)


def test_a_crop_reports_boxes_beyond_its_edge_within_the_image():
    crop = Geometry(1280, 720, SIZE / 720, SIZE / 720, -280 * SIZE / 720, 0.0)
    boxes = np.array([[250, 100, 500, 400]], np.float32)
    outputs = yolov8(to_tensor(boxes, crop), IDS[:1], SCORES[:1])
    result = decode(FAMILIES["yolov8"], outputs, context(geometry=crop))
    np.testing.assert_allclose(result.boxes, boxes, atol=0.01)


def candidates(count, **beside):
    middle = SIZE / 2
    boxes = np.tile(np.array([[middle - 9, middle - 9, middle, middle]], np.float32), (count, 1))
    scores = np.linspace(0.5, 0.9, count, dtype=np.float32)
    return Candidates(boxes, scores, np.zeros(count, np.int32), "boxes", beside)


@pytest.mark.parametrize("select", [select_best, select_non_overlapping])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_what_stands_beside_a_box_stays_beside_it(select, count):
    masks = np.arange(count * 6).reshape(count, 2, 3)
    angles = np.arange(count) / 10
    settings = build(OverlapSettings, {"max_detections": 3})
    kept = select(candidates(count, masks=masks, angles=angles), context(), settings)
    expected = np.arange(count)[::-1][: 3 if select is select_best else 1]
    np.testing.assert_array_equal(kept.beside["masks"], masks[expected])
    np.testing.assert_array_equal(kept.beside["angles"], angles[expected])
    assert len(to_detections(kept, context())) == len(expected)


def test_shapes_beside_the_boxes_are_compared_instead_of_them():
    angles = np.array([[0.0], [0.1], [1.5], [0.05], [1.4]])
    settings = build(OverlapSettings, {"iou": 0.5})

    def overlaps(some, others, iou):
        return np.abs(some - others.T) < iou

    kept = select_non_overlapping(
        candidates(5, angles=angles), context(), settings, shapes="angles", overlaps=overlaps
    )
    np.testing.assert_array_equal(kept.beside["angles"], angles[[4, 3]])


@pytest.mark.parametrize("shape", [(), (4,), (4, 5), (6, 2)])
def test_what_stands_beside_other_boxes_is_refused(shape):
    with pytest.raises(TensorError, match="'boxes': expected masks for 5 boxes, got shape"):
        candidates(5, masks=np.zeros(shape))

"""Objects to messages and back, and messages that contradict themselves."""

from __future__ import annotations

import dataclasses
import math
from array import array

import numpy as np
import pytest
from edge_inference.msg import (
    ClassificationResult,
    InferenceState,
    LatencyReport,
    StageLatency,
    Tensor,
    TensorGeometry,
    TensorList,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from edge_inference.composition.adapter import Adapter
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.results import Classification, DepthMap, Detections, Segmentation
from edge_inference.core.runtime import latency
from edge_inference.core.tensors import TensorBatch
from edge_inference.errors import ImageError, InputError, TensorError
from edge_inference.nodes.conversions.inference_state import InferenceStateAdapter
from edge_inference.nodes.conversions.numbers import Float32Adapter
from edge_inference.nodes.conversions.results.classification import ClassificationAdapter
from edge_inference.nodes.conversions.results.depth import DepthAdapter
from edge_inference.nodes.conversions.results.detection import DetectionArrayAdapter
from edge_inference.nodes.conversions.results.segmentation import SegmentationAdapter
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.conversions.timing import LatencyReportAdapter, StageTimingAdapter

HEAD = {"model": "m", "stamp_ns": 1_000_000_002, "frame_id": "camera"}


def through(adapter: Adapter, item):
    """Serialise and deserialise with the generated code."""
    return adapter.from_bytes(adapter.to_bytes(item))


def same(one, other) -> bool:
    """Compare two dataclasses with arrays in them; arrays of equal dtype and values."""
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            if left.dtype != right.dtype or not np.array_equal(left, right, equal_nan=True):
                return False
        elif left != right:
            return False
    return True


# Tensors ----------------------------------------------------------------------------------------


@given(
    st_numpy.arrays(
        dtype=st.sampled_from(
            ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
        ),
        shape=st_numpy.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    )
)
def test_tensors_survive(tensor: np.ndarray) -> None:
    geometry = Geometry(640, 480, 0.65, 0.5, -3.0, 4.5)
    back = through(
        TensorListAdapter(), TensorBatch({"a": tensor, "b": tensor.T}, (geometry,), **HEAD)
    )
    for name, sent in (("a", tensor), ("b", tensor.T)):
        got = back.tensors[name]
        assert got.dtype == tensor.dtype and got.shape == sent.shape
        assert np.array_equal(got, sent, equal_nan=tensor.dtype.kind == "f")
        assert not got.flags.writeable or not got.size
    assert back.geometry == (geometry,)
    assert (back.model, back.stamp_ns, back.frame_id) == ("m", 1_000_000_002, "camera")


def message(**changes) -> TensorList:
    """One tensor of two rows and three columns, with some fields changed."""
    fields = {
        "name": "t",
        "dtype_code": Tensor.DTYPE_FLOAT,
        "dtype_bits": 32,
        "dtype_lanes": 1,
        "shape": [2, 3],
        "data": array("B", np.arange(6, dtype=np.float32).tobytes()),
    }
    return TensorList(tensors=[Tensor(**{**fields, **changes})])


def test_strides_and_offset_are_followed() -> None:
    columns = array("B", b"\0" * 4 + np.arange(6, dtype=np.float32).tobytes())
    batch = TensorListAdapter().from_message(message(strides=[1, 2], byte_offset=4, data=columns))
    assert batch.tensors["t"].tolist() == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]


def test_an_odd_offset_gives_an_aligned_array() -> None:
    data = array("B", b"\0" + np.arange(6, dtype=np.float32).tobytes())
    tensor = TensorListAdapter().from_message(message(byte_offset=1, data=data)).tensors["t"]
    assert tensor.flags.aligned
    assert tensor.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_the_stride_of_an_axis_of_one_does_not_matter() -> None:
    invalid = message(shape=[1, 6], strides=[2**62, 1])
    assert TensorListAdapter().from_message(invalid).tensors["t"].tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dtype_code": 3}, "dtype code 3 with 32 bits"),
        ({"dtype_bits": 24}, "24 bits"),
        ({"dtype_bits": 8}, "dtype code 2 with 8 bits"),
        ({"dtype_code": Tensor.DTYPE_BOOL}, "dtype code 6 with 32 bits"),
        ({"dtype_lanes": 4}, "4 lanes"),
        ({"dtype_lanes": 0}, "0 lanes"),
        ({"shape": [2, -3]}, "do not match"),
        ({"shape": [-2, -3]}, "do not match"),
        ({"shape": [2, 4]}, "needs 32 bytes, the message has 24"),
        ({"shape": [2**62, 2**62]}, "needs .* bytes, the message has 24"),
        ({"shape": [2**63 - 1]}, "needs .* bytes, the message has 24"),
        ({"shape": [0, 2**62, 2**62]}, "shape"),
        ({"shape": [1] * 70}, "at most 16 axes, got 70"),
        ({"shape": [0] * 70}, "at most 16 axes, got 70"),
        ({"data": array("B")}, "needs 24 bytes, the message has 0"),
        ({"byte_offset": 1}, "needs 25 bytes"),
        ({"byte_offset": 2**64 - 1}, "needs .* bytes"),
        ({"strides": [3]}, "do not match"),
        ({"strides": [3, -1]}, "do not match"),
        ({"strides": [4, 1]}, "needs 28 bytes"),
        ({"strides": [2**62, 2**62]}, "needs .* bytes"),
        # A few bytes for any number of elements, because they overlap.
        ({"shape": [2**40, 2**40], "strides": [0, 0]}, "needs .* bytes, the message has 24"),
        ({"strides": [1, 1], "data": array("B", bytes(16))}, "needs 24 bytes, the message has 16"),
    ],
)
def test_a_tensor_that_contradicts_itself(changes, expected: str) -> None:
    with pytest.raises(TensorError, match=f"tensor 't': .*{expected}"):
        TensorListAdapter().from_message(message(**changes))


def test_a_duplicate_name() -> None:
    twice = message()
    twice.tensors.append(twice.tensors[0])
    with pytest.raises(TensorError, match=r"distinct tensor names, got \['t', 't'\]"):
        TensorListAdapter().from_message(twice)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scale_x": 0.0}, r"as scale a number from 1e-06 .* got scale \(0.0, 1.0\)"),
        ({"scale_y": -1.0}, r"got scale \(1.0, -1.0\)"),
        ({"scale_x": float("nan")}, r"got scale \(nan, 1.0\)"),
        ({"offset_y": float("inf")}, r"offset \(0.0, inf\)"),
        ({"source_width": 0}, "1 to 16384 pixels per side, got 0x480"),
        ({"source_height": 2**32 - 1}, "got 640x4294967295"),
    ],
)
def test_geometry_that_makes_no_sense(changes, expected: str) -> None:
    fields = {"source_width": 640, "source_height": 480, "scale_x": 1.0, "scale_y": 1.0}
    invalid = TensorList(geometry=[TensorGeometry(**{**fields, **changes})])
    with pytest.raises(TensorError, match=f"tensor geometry: .*{expected}"):
        TensorListAdapter().from_message(invalid)


@pytest.mark.parametrize(
    ("width", "height", "images"),
    [(16384, 2048, 1), (8192, 4096, 1), (16384, 1, 256), (512, 256, 256)],
)
def test_sources_are_bounded_by_their_pixels_together(width, height, images) -> None:
    source = TensorGeometry(source_width=width, source_height=height, scale_x=1.0, scale_y=1.0)
    taken = TensorListAdapter().from_message(TensorList(geometry=[source] * images))
    assert len(taken.geometry) == images
    more = -(-((1 << 25) + 1) // (width * height))
    pixels = more * width * height
    with pytest.raises(TensorError, match=f"at most 33554432 pixels in all, got {pixels} in "):
        TensorListAdapter().from_message(TensorList(geometry=[source] * more))


def test_a_dtype_that_messages_do_not_know() -> None:
    with pytest.raises(TensorError, match="'t': dtype complex128"):
        TensorListAdapter().to_message(TensorBatch({"t": np.zeros(1, complex)}, (), "m"))


# Results ----------------------------------------------------------------------------------------


def detections(count: int = 2) -> Detections:
    return Detections(
        boxes=np.array([[1, 2, 30, 40], [0, 0, 4, 8]], np.float32)[:count],
        scores=np.array([0.75, 0.5], np.float32)[:count],
        class_ids=np.array([1, 0], np.int32)[:count],
        labels=("cup", "dog")[: 2 if count else 0],
        source_width=640,
        source_height=480,
        **HEAD,
    )


@pytest.mark.parametrize("count", [0, 1, 2])
def test_detections_survive(count: int) -> None:
    sent = detections(count)
    back = through(DetectionArrayAdapter(), sent)
    named = dataclasses.replace(back, labels=sent.labels)
    assert same(named, sent)
    assert [back.label(i) for i in range(count)] == [sent.label(i) for i in range(count)]


def test_detections_of_a_source_of_unknown_size() -> None:
    sent = dataclasses.replace(detections(), source_width=None, source_height=None)
    assert through(DetectionArrayAdapter(), sent).source_width is None


@pytest.mark.parametrize("count", [0, 3])
def test_classes_survive(count: int) -> None:
    sent = Classification(
        class_ids=np.array([2, 0, 1], np.int32)[:count],
        scores=np.array([0.5, 0.3, 0.2], np.float32)[:count],
        labels=("ant", "bee", "cat")[:count],
        **HEAD,
    )
    assert same(through(ClassificationAdapter(), sent), sent)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_masks_survive(dtype) -> None:
    mask = np.arange(6, dtype=dtype).reshape(2, 3)
    sent = Segmentation(mask, ("a", "b"), 0.5, unknown_id=9, **HEAD)
    assert same(through(SegmentationAdapter(), sent), sent)
    without_score = through(SegmentationAdapter(), dataclasses.replace(sent, score=math.nan))
    assert math.isnan(without_score.score)
    assert same(
        through(SegmentationAdapter(), dataclasses.replace(sent, mask=mask[:, ::2])),
        dataclasses.replace(sent, mask=mask[:, ::2]),
    )


def test_a_mask_of_numbers_that_no_image_has() -> None:
    with pytest.raises(TensorError, match="expected uint8 or uint16, got int32"):
        SegmentationAdapter().to_message(Segmentation(np.zeros((2, 3), np.int32), (), 0.5))


def test_an_empty_mask_survives() -> None:
    sent = Segmentation(np.empty((0, 0), np.uint8), (), 0.0, **HEAD)
    assert through(SegmentationAdapter(), sent).mask.shape == (0, 0)


def test_depth_survives() -> None:
    depth = np.array([[1.5, np.nan], [0.0, 3.0], [4.0, 5.0]], np.float32)
    head = {**HEAD, "model": ""}
    assert same(through(DepthAdapter(), DepthMap(depth, "m", **head)), DepthMap(depth, "m", **head))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"encoding": "rgb8"}, "expected encoding mono8 or 16UC1, got 'rgb8'"),
        ({"height": 3}, "6 bytes|9 bytes"),
        ({"step": 2}, "a step of at least 3"),
        ({"width": 2**32 - 1}, "at most 16384 pixels per side, got 4294967295x2"),
    ],
)
def test_a_mask_that_contradicts_itself(changes, expected: str) -> None:
    sent = Segmentation(np.zeros((2, 3), np.uint8), (), 0.0, **HEAD)
    invalid = SegmentationAdapter().to_message(sent)
    for name, value in changes.items():
        setattr(invalid.mask, name, value)
    with pytest.raises(ImageError, match=expected):
        SegmentationAdapter().from_message(invalid)


def test_padded_and_big_endian_depth_is_read() -> None:
    invalid = DepthAdapter().to_message(DepthMap(np.zeros((2, 1), np.float32), "m"))
    rows = np.array([[1.5], [2.5]], ">f4").tobytes()
    invalid.data = array("B", rows[:4] + b"pad " + rows[4:] + b"pad ")
    invalid.step, invalid.is_bigendian = 8, 1
    assert DepthAdapter().from_message(invalid).depth.tolist() == [[1.5], [2.5]]


def test_classes_without_names() -> None:
    invalid = ClassificationResult(class_ids=[1, 2], labels=["one"], confidences=[0.5, 0.4])
    with pytest.raises(InputError, match="got 2, 1 and 2"):
        ClassificationAdapter().from_message(invalid)


@pytest.mark.parametrize("class_id", [-1, 2**31 - 1])
def test_class_numbers_beyond_reason(class_id: int) -> None:
    invalid = ClassificationResult(class_ids=[class_id], labels=["x"], confidences=[0.5])
    with pytest.raises(InputError, match=f"expected 0 to 65535, got {class_id}"):
        ClassificationAdapter().from_message(invalid)


# Numbers and timing -----------------------------------------------------------------------------


def test_reasons_without_counts() -> None:
    invalid = LatencyReport(stages=[StageLatency(stage="decode", drop_reasons=["too_old"])])
    with pytest.raises(InputError, match="'decode': expected a count for each of 1"):
        LatencyReportAdapter().from_message(invalid)


def test_an_invalid_rate_is_not_no_limit() -> None:
    adapter = InferenceStateAdapter()
    assert adapter.from_message(InferenceState(max_rate_hz=math.inf)).max_rate_hz is None
    assert adapter.from_message(InferenceState(max_rate_hz=2.0)).max_rate_hz == 2.0
    for invalid in (math.nan, -1.0, -math.inf, 1e-40, 3e38):
        with pytest.raises(InputError, match=r"/ai/inference: max_rate_hz: expected 0, or .*inf"):
            adapter.from_message(InferenceState(node="/ai/inference", max_rate_hz=invalid))


@pytest.mark.parametrize("number", [0.0, -1.5, float("inf")])
def test_numbers_survive(number: float) -> None:
    assert through(Float32Adapter(), number) == number


@pytest.mark.parametrize("figure", [2.5, None])
def test_timings_survive(figure: float | None) -> None:
    sent = latency.StageTiming(
        "decode",
        "/ai/decode",
        0.5,
        figure,
        figure,
        "too_old",
        "m",
        1_000_000_002,
        "camera",
        publish_run_queue_ms=figure,
    )
    assert through(StageTimingAdapter(), sent) == sent


@pytest.mark.parametrize(
    ("age_ms", "waited_ms", "fault", "expected"),
    [
        (599_000.0, 0.0, "", (599_000.0, "")),
        (601_000.0, 0.0, "", (None, "stamp_in_past")),
        (601_000.0, 5_000.0, "", (601_000.0, "")),
        (86_400_099.0, 0.0, "", (None, "stamp_in_past")),
        (86_400_099.0, 0.0, "stamp_went_back", (None, "stamp_went_back")),
    ],
)
def test_an_age_that_no_latency_can_be_is_a_clock_fault_whoever_sends_it(
    age_ms: float, waited_ms: float, fault: str, expected: tuple[float | None, str]
) -> None:
    sent = latency.StageTiming("decode", "/other/decode", waited_ms, 2.0, age_ms, clock_fault=fault)
    received = through(StageTimingAdapter(), sent)
    assert (received.age_ms, received.clock_fault) == expected


def test_all_figures_of_a_stage_survive() -> None:
    ends = [latency.Percentiles(p50=float(n), p99=n + 0.5) for n in range(1, 6)]
    published = latency.Percentiles(p50=8.0, p95=9.0, p99=10.0, max=11.0)
    stage = latency.StageLatency(
        "decode", "/ai/decode", 7, 3, 1.5, latency.Percentiles(), ends[0], ends[1],
        receive=ends[2], device=ends[3], publish=ends[4], published_age=published,
        deadline_misses=4, clock_faults={"stamp_in_past": 6, "stamp_zero": 1},
    )  # fmt: skip
    sent = latency.LatencyReport(10.0, (stage,), deadline_ms=50.0)
    assert through(LatencyReportAdapter(), sent) == sent
    invalid = LatencyReport(stages=[StageLatency(stage="decode", clock_faults=["stamp_zero"])])
    with pytest.raises(InputError, match="'decode': expected a count for each of 1 clock_faults"):
        LatencyReportAdapter().from_message(invalid)


def test_reports_survive() -> None:
    measured = latency.Percentiles.of([1.0, 2.0, 4.0])
    waited = latency.Percentiles(p50=0.5, p99=0.75)
    stage = latency.StageLatency(
        "decode", "/ai/decode", 7, 3, 1.5, latency.Percentiles(), waited, waited, {"too_old": 2}
    )
    sent = latency.LatencyReport(10.0, (stage,), 1_000_000_002, "")
    assert through(LatencyReportAdapter(), sent) == sent
    measured_stage = dataclasses.replace(stage, process=measured)
    back = through(LatencyReportAdapter(), dataclasses.replace(sent, stages=(measured_stage,)))
    assert back.stages[0].process.mean == pytest.approx(measured.mean)
    assert back.stages[0].process.max == 4.0

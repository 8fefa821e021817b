"""The bounds of messages, checked before deserialisation."""

from __future__ import annotations

import contextlib
import itertools
import math
from array import array
from collections.abc import Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from edge_inference.msg import (
    ActionPlan,
    ActionStep,
    Detection,
    DetectionArray,
    LatencyReport,
    OperatingPoint,
    PerformanceDirective,
    PlatformReading,
    PlatformState,
    Segmentation,
    StageLatency,
    StageTiming,
    Tensor,
    TensorGeometry,
    TensorList,
    Transcript,
    Workload,
)
from geometry_msgs.msg import PoseWithCovarianceStamped, TwistWithCovarianceStamped
from rcl_interfaces.msg import ParameterEvent
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.serialization import deserialize_message, serialize_message
from rosidl_parser import definition as idl
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, Temperature
from std_msgs.msg import Empty

from all_adapters import make_adapters
from edge_inference.composition import message_bounds
from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import BoundsChecker, MessageBounds
from edge_inference.errors import InputError
from edge_inference.nodes.conversions.images import CompressedImageAdapter, ImageAdapter
from edge_inference.nodes.conversions.performance import DirectiveAdapter, WorkloadAdapter
from edge_inference.nodes.conversions.platform import PlatformReportAdapter, TemperatureAdapter
from edge_inference.nodes.conversions.results.detection import DetectionArrayAdapter
from edge_inference.nodes.conversions.results.segmentation import SegmentationAdapter
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from edge_inference.nodes.conversions.timing import LatencyReportAdapter, StageTimingAdapter
from edge_inference.nodes.conversions.voice import ActionPlanAdapter, TranscriptAdapter

ADAPTERS = make_adapters()
RMWError = rclpy_implementation.RMWError
MEGABYTE = 10**6
every_adapter = pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda each: type(each).__name__)


def places(message_type: type[Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the type of every string and sequence of a message."""
    names = message_type.get_fields_and_field_types()
    for name, kind in zip(names, message_type.SLOT_TYPES, strict=True):
        inner = getattr(kind, "value_type", kind)
        if isinstance(kind, idl.AbstractString | idl.AbstractSequence):
            yield (name,), kind
        if isinstance(inner, idl.NamespacedType) and not isinstance(kind, idl.Array):
            for path, found in places(message_bounds._find_class(inner)):
                yield (name, *path), found


def filled(message_type: type[Any], path: tuple[str, ...], value: Any) -> Any:
    """Return a message with a value at a path; sequences on the path have one element."""
    message = message_type()
    name, *rest = path
    kind = dict(zip(message.get_fields_and_field_types(), message.SLOT_TYPES, strict=True))[name]
    if rest:
        is_sequence = isinstance(kind, idl.AbstractSequence)
        inner = message_bounds._find_class(kind.value_type if is_sequence else kind)
        value = filled(inner, tuple(rest), value)
        value = [value] if is_sequence else value
    setattr(message, name, value)
    return message


def many(kind: Any, count: int) -> Any:
    """Return a value of a sequence."""
    inner = kind.value_type
    if isinstance(inner, idl.AbstractString):
        return [""] * count
    if isinstance(inner, idl.NamespacedType):
        return [message_bounds._find_class(inner)()] * count
    values = {"boolean": False, "octet": b"\0", "float": 0.0, "double": 0.0}
    return [values.get(inner.typename, 0)] * count


HOSTILE = [
    pytest.param(adapter, path, kind, id=f"{type(adapter).__name__}-{'.'.join(path)}")
    for adapter in ADAPTERS
    for path, kind in places(adapter.message_type)
    # The largest messages may have very many numbers: only their size is bounded.
    if isinstance(kind, idl.AbstractString)
    or not isinstance(kind.value_type, idl.BasicType)
    or path[-1] in adapter.bounds.counts
]


@every_adapter
def test_every_message_type_has_bounds(adapter: Adapter) -> None:
    assert type(adapter).from_bytes is Adapter.from_bytes
    size = adapter.bounds.size
    assert size <= (
        1 << 30 if isinstance(adapter, ImageAdapter | CompressedImageAdapter) else 64 << 20
    )
    with pytest.raises(InputError, match=f"message: expected at most {size} bytes, got {size + 1}"):
        adapter.from_bytes(bytes(size + 1))


@pytest.mark.parametrize(("adapter", "path", "kind"), HOSTILE)
def test_message_beyond_its_bounds_is_refused_before_deserialization(
    adapter: Adapter, path: tuple[str, ...], kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(self: Adapter, data: bytes) -> None:
        raise AssertionError(f"{len(data)} bytes are read")

    monkeypatch.setattr(type(adapter), "read", read)
    is_text, field = isinstance(kind, idl.AbstractString), path[-1]
    bound = adapter.bounds.counts.get(field, message_bounds.MAX_ELEMENTS)
    for value in ["x" * MEGABYTE, "x" * 8193] if is_text else [many(kind, bound + 1)]:
        message = filled(adapter.message_type, path, value)
        with pytest.raises(InputError, match=f"expected at most .*got|{field}: expected at most"):
            adapter.from_bytes(serialize_message(message))
    if is_text:
        for odd in ("a\x1b[2J", "a\x7f", "a\u202eb", "a\u2028b"):
            with pytest.raises(InputError, match=f"{field}: expected no control characters, got"):
                adapter.from_bytes(serialize_message(filled(adapter.message_type, path, odd)))


@every_adapter
def test_message_at_its_bounds_is_accepted(adapter: Adapter) -> None:
    checked = BoundsChecker(adapter.message_type, adapter.bounds)
    for path, kind in places(adapter.message_type):
        bound = adapter.bounds.texts.get(path[-1], message_bounds.MAX_NAME_BYTES)
        value = "x" * bound if isinstance(kind, idl.AbstractString) else many(kind, 1)
        checked.check(serialize_message(filled(adapter.message_type, path, value)))


@pytest.mark.parametrize(
    "kind",
    [
        *{adapter.message_type: None for adapter in ADAPTERS},
        # Members as in vision_msgs and others: arrays of fixed size, booleans, empty messages.
        *(CameraInfo, DiagnosticArray, Empty, ParameterEvent, PointCloud2),
        *(PoseWithCovarianceStamped, TwistWithCovarianceStamped),
    ],
    ids=lambda kind: kind.__name__,
)
def test_check_returns_the_end_of_the_message(kind: type[Any]) -> None:
    """As the generated code reads it, with strings and sequences of any length before a number."""
    checked = BoundsChecker(kind, MessageBounds())
    messages = [kind()]
    for path, found in places(kind):
        if isinstance(found, idl.AbstractString):
            messages += [filled(kind, path, "x" * length) for length in range(1, 9)]
        elif not isinstance(found, idl.BoundedSequence):
            messages += [filled(kind, path, many(found, length)) for length in range(1, 4)]
    for message in messages:
        data = serialize_message(message)
        end = checked.check(data)
        assert deserialize_message(data[:end], kind) == message
        with contextlib.suppress(
            RMWError
        ):  # the generated code reads some messages that are cut short
            assert deserialize_message(data[: end - 1], kind) != message
        assert checked.check(data[:2] + b"\0\2" + data[4:end] + b"\0\0") == end  # padded
        for cut in {0, 3, 4, end // 2, end - 1}:
            with pytest.raises(InputError, match="expected"):
                checked.check(data[:cut])


def test_bounded_sequence_keeps_its_bound() -> None:
    data = serialize_message(
        Workload(operating_points=[OperatingPoint()], operating_point=[0x77777777])
    )
    longer = data.replace(b"\1\0\0\0wwww", b"\2\0\0\0wwww")
    with pytest.raises(
        InputError, match="Workload message: operating_point: expected at most 1 elements"
    ):
        WorkloadAdapter().from_bytes(longer)


def test_sentences_have_line_breaks_and_names_have_none() -> None:
    adapter = TranscriptAdapter()
    transcript = Transcript(text="go\nforward\tnow", mode="free", locale="en")
    assert adapter.from_bytes(serialize_message(transcript)).text == "go\nforward\tnow"
    transcript.locale = "en\n[ERROR] the robot is on fire"
    with pytest.raises(InputError, match=r"Transcript message: locale: expected no control"):
        adapter.from_bytes(serialize_message(transcript))


def test_names_are_of_any_script() -> None:
    timing = StageTiming(stage="Erkennung für 猫", node="/küche/ノード")
    assert StageTimingAdapter().from_bytes(serialize_message(timing)).node == "/küche/ノード"


def test_many_axes_are_refused_cheaply() -> None:
    tensor = Tensor(name="x", dtype_code=2, dtype_bits=32, dtype_lanes=1)
    tensor.shape = array("q", [1]) * 100_000
    message = TensorList(tensors=[tensor])
    with pytest.raises(InputError, match="shape: expected at most 16 elements, got 100000"):
        TensorListAdapter().from_bytes(serialize_message(message))
    with pytest.raises(InputError, match="'x': expected at most 16 axes, got 100000"):
        TensorListAdapter().from_message(message)


def test_many_objects_are_not_created() -> None:
    """A few megabytes would be a hundred thousand objects."""
    for fields in (
        {"geometry": [TensorGeometry()] * 100_000},
        {"tensors": [Tensor()] * 100_000},
    ):
        with pytest.raises(InputError, match="expected at most 256 elements, got 100000"):
            TensorListAdapter().from_bytes(serialize_message(TensorList(**fields)))


def test_images_are_checked_too() -> None:
    image = Image(width=1, height=1, step=3, encoding="bgr8", data=[1, 2, 3])
    image.header.frame_id = "camera"
    assert ImageAdapter().from_bytes(serialize_message(image)).frame_id == "camera"
    image.encoding = "x" * MEGABYTE
    with pytest.raises(InputError, match="Image message: encoding: expected at most 1024 bytes"):
        ImageAdapter().from_bytes(serialize_message(image))


# Numbers ----------------------------------------------------------------------------------------

ODD = (math.inf, -math.inf, 3e38, -1.0)


def reading(**given: Any) -> PlatformState:
    fields = {"name": "x", "quantity": "temperature", "status": "ok", "role": "none", **given}
    return PlatformState(readings=[PlatformReading(**fields)])


def odd_numbers() -> Iterator[Any]:
    kinds: list[tuple[Adapter, Any, tuple[str, ...]]] = [
        (StageTimingAdapter(), StageTiming, ("queue_ms", "process_ms", "age_ms")),
        (WorkloadAdapter(), Workload, ("demand_hz", "rate_hz", "minimum_rate_hz")),
        (LatencyReportAdapter(), LatencyReport, ("window_s", "deadline_ms")),
    ]
    for (adapter, kind, names), value in itertools.product(kinds, ODD):
        for name in names:
            yield adapter, kind(**{name: value}), name
    for name, value in itertools.product(("process_ms", "accuracy"), ODD):
        yield WorkloadAdapter(), Workload(operating_points=[OperatingPoint(**{name: value})]), name
    for name in ("rate_hz", "mean_ms", "p99_ms", "queue_p50_ms", "age_p99_ms", "device_p99_ms"):
        yield LatencyReportAdapter(), LatencyReport(stages=[StageLatency(**{name: 3e38})]), name
    for value in (math.inf, -300.0, 1e308):
        yield PlatformReportAdapter(), reading(value=value), "value"
        yield TemperatureAdapter(), Temperature(temperature=value), "temperature"
    for value in ODD:
        yield PlatformReportAdapter(), reading(value=1.0, age_s=value), "age_s"
    for name in ("throttle", "critical"):
        yield PlatformReportAdapter(), reading(value=1.0, **{name: 3e38}), name
    for name, value in (("distance_m", 1e308), ("angle_rad", -1e307), ("speed_mps", 1e7)):
        step = ActionStep(**{"action": "move", name: value})
        yield ActionPlanAdapter(), ActionPlan(steps=[step]), name
    for value in (1e-45, 1e-40, math.nan):
        yield WorkloadAdapter(), Workload(minimum_rate_hz=value), "minimum_rate_hz"
    yield TensorListAdapter(), TensorList(skipped=2**32 - 1), "skipped"
    for name, value in (("scale_x", 5e-324), ("scale_y", 1e308), ("offset_x", 1e308)):
        shape = {"source_width": 1, "source_height": 1, "scale_x": 1.0, "scale_y": 1.0}
        geometry = TensorGeometry(**{**shape, name: value})
        yield TensorListAdapter(), TensorList(geometry=[geometry]), "geometry"


@pytest.mark.parametrize(("adapter", "message", "name"), list(odd_numbers()))
def test_impossible_numbers(adapter: Adapter, message: Any, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}.*expected"):
        adapter.from_bytes(serialize_message(message))


@pytest.mark.parametrize("rate", [-math.inf, math.nan, 1e-45, 1e-40, -1.0, 3e38])
def test_impossible_rate_is_failsafe(rate: float) -> None:
    made = DirectiveAdapter().from_bytes(serialize_message(PerformanceDirective(max_rate_hz=rate)))
    assert "max_rate_hz: expected 0, or a number from 0.0001" in made.problem


def test_boxes_and_scores_are_numbers() -> None:
    for field, value in (("x", math.nan), ("width", 3e38), ("score", math.nan), ("score", 1.5)):
        message = DetectionArray()
        message.detections = [Detection(**{field: value})]
        with pytest.raises(InputError, match=r"DetectionArray: expected (corners|scores)"):
            DetectionArrayAdapter().from_bytes(serialize_message(message))


def test_a_map_has_a_size_and_a_score() -> None:
    for width, height in ((0, 2**32 - 1), (2**32 - 1, 0)):
        mask = Image(width=width, height=height, encoding="mono8")
        with pytest.raises(
            InputError, match=f"at most 16384 pixels per side, got {width}x{height}"
        ):
            SegmentationAdapter().from_bytes(serialize_message(Segmentation(mask=mask)))
    mask = Image(width=1, height=1, step=1, encoding="mono8", data=[0])
    message = Segmentation(mask=mask, score=1.5)
    with pytest.raises(InputError, match="Segmentation: score: expected a number from 0 to 1"):
        SegmentationAdapter().from_bytes(serialize_message(message))


def test_as_many_labels_as_masks_have_classes() -> None:
    data = serialize_message(Segmentation(labels=["x"] * 4096))
    BoundsChecker(Segmentation, MessageBounds(counts={"labels": 4096})).check(data)

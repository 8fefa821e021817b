"""Definitions of message types in recordings, and the boxes that Foxglove draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.core.images.canvas import class_color
from edge_inference.core.results import Detections
from edge_inference.errors import InputError
from edge_inference.observe.recording.foxglove_annotations import (
    IMAGE_ANNOTATIONS,
    pack_annotations,
)
from edge_inference.observe.recording.ros_schemas import SEPARATOR, RosDefinitions, used_types
from mcap_judges import RosDecoder

OUTER, INNER = "a/share/one/msg/Outer.msg", "a/share/one/msg/Inner.msg"
LEAF = "b/share/two/msg/Leaf.msg"
FILES = {
    OUTER: "Inner[] inner\ntwo/Leaf[3] leaves # two/Other\nstring<=8 name\n",
    INNER: "# three/None\ntwo/Leaf leaf\n\nuint64[<=2] numbers",
    LEAF: "float64 value\nstring text 'one/Inner inside'\n",
}


@pytest.fixture
def definitions(tmp_path: Path) -> RosDefinitions:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return RosDefinitions([str(tmp_path / "none"), str(tmp_path / "a"), str(tmp_path / "b")])


def test_a_definition_comes_with_all_that_it_uses(definitions: RosDefinitions) -> None:
    schema = definitions.find("one/msg/Outer")
    assert SEPARATOR == "=" * 80
    assert schema.name == "one/msg/Outer"
    assert schema.text == (
        f"{FILES[OUTER]}\n{SEPARATOR}\nMSG: one/Inner\n"
        f"{FILES[INNER]}\n{SEPARATOR}\nMSG: two/Leaf\n{FILES[LEAF]}"
    )


def test_a_definition_that_is_missing_is_named(definitions: RosDefinitions, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"type two/Nothing: expected share/two/msg/Nothing\.msg in one of"
    ):
        definitions.find("two/msg/Nothing")
    (tmp_path / INNER).write_text("three/Far far")
    with pytest.raises(
        InputError, match=r"message type three/Far: expected .*; source the workspace"
    ):
        definitions.find("one/msg/Outer")


def test_a_type_that_uses_itself_ends(definitions: RosDefinitions, tmp_path: Path) -> None:
    (tmp_path / LEAF).write_text("Leaf[] leaves\none/Outer outer")
    assert definitions.find("two/msg/Leaf").text.count("MSG: ") == 2


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("", []),
        ("# a/B c", []),
        ("bool a", []),
        ("wstring<=3 a", []),
        ("uint8[] data", []),
        ("float32[<=4] center", []),
        ("int32 X=3", []),
        ("  std_msgs/Header header # a time", ["std_msgs/Header"]),
        ("std_msgs/msg/Header header", ["std_msgs/Header"]),
        ("Point[] points", ["Point"]),
        ("Point a\nPoint b", ["Point"]),
    ],
)
def test_the_types_of_fields(line: str, found: list[str]) -> None:
    assert used_types(line) == found


def detections(count: int, height: int | None = 480) -> Detections:
    return Detections(
        boxes=np.array([[i, i + 1, i + 10.5, i + 20] for i in range(count)], np.float32).reshape(
            -1, 4
        ),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        class_ids=np.arange(count, dtype=np.int32),
        labels=("Übergröße", "b"),
        source_width=None if height is None else 640,
        source_height=height,
        stamp_ns=1_700_000_000_123_456_789,
        frame_id="camera",
    )


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_boxes_as_foxglove_reads_them(count: int) -> None:
    pytest.importorskip("rosbags", reason="the package rosbags is not installed")
    found = detections(count)
    schema = IMAGE_ANNOTATIONS
    message = RosDecoder().decode(schema.name, schema.text, pack_annotations(found))
    assert schema.name == "foxglove_msgs/msg/ImageAnnotations"
    assert (len(message.circles), len(message.points), len(message.texts)) == (0, count, count)
    for index in range(count):
        box, text = message.points[index], message.texts[index]
        x1, y1, x2, y2 = found.boxes[index].tolist()
        corners = [(point.x, point.y) for point in box.points]
        assert corners == [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        assert (box.type, box.thickness, len(box.outline_colors)) == (box.LINE_LOOP, 2.0, 0)
        color = (box.outline_color.b, box.outline_color.g, box.outline_color.r)
        assert color == pytest.approx([part / 255 for part in class_color(index)])
        assert (box.outline_color.a, box.fill_color.a) == (1.0, 0.0)
        assert text.text == f"{found.label(index)} {found.scores[index]:.2f}"
        assert (text.position.x, text.position.y, text.font_size) == (x1, y1, 12.0)
        assert (text.text_color.a, text.background_color) == (1.0, box.outline_color)
        for item in (box, text):
            assert (item.timestamp.sec, item.timestamp.nanosec) == (1_700_000_000, 123_456_789)


def test_texts_grow_with_the_image_and_stamps_stay_in_range() -> None:
    pytest.importorskip("rosbags", reason="the package rosbags is not installed")
    decoder, schema = RosDecoder(), IMAGE_ANNOTATIONS

    def decode(item: Detections) -> Any:
        return decoder.decode(schema.name, schema.text, pack_annotations(item))

    assert decode(detections(1, 2160)).texts[0].font_size == 54.0
    assert decode(detections(1, None)).texts[0].font_size == 12.0
    for stamp_ns, seconds in ((-(10**20), -(2**31)), (10**20, 2**31 - 1), (0, 0)):
        item = detections(1)
        object.__setattr__(item, "stamp_ns", stamp_ns)
        assert decode(item).points[0].timestamp.sec == seconds

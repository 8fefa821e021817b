"""Detections as ``foxglove_msgs/ImageAnnotations``, which Foxglove draws on the image.

As the messages of a recording, they are serialized for ROS 2 (CDR), because ``ros2 bag play``
refuses files with several encodings. The package foxglove_msgs is not needed for that.
"""

from __future__ import annotations

import struct

from edge_inference.core.images.canvas import class_color
from edge_inference.core.results import Detections
from edge_inference.observe.recording.ros_schemas import SEPARATOR, RosSchema

_LINE_LOOP = 2
_THICKNESS_PX = 2.0
_TEXT_PX = 12.0
#: Of the height of the image, where it is known.
_TEXT_SHARE = 1 / 40
_NOTHING = (0.0, 0.0, 0.0, 0.0)
_BLACK, _WHITE = (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)
_BRIGHT = 0.55
_LITTLE_ENDIAN = b"\x00\x01\x00\x00"
_SECOND_NS = 1_000_000_000
_MAX_S = 2**31 - 1
#: Everything of a box after its time; it begins and ends at a multiple of 8.
_BOX = struct.Struct("<B3xI8d4dI4x4dd")

_DEFINITIONS = {
    "": """\
foxglove_msgs/CircleAnnotation[] circles
foxglove_msgs/PointsAnnotation[] points
foxglove_msgs/TextAnnotation[] texts
""",
    "foxglove_msgs/CircleAnnotation": """\
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position  # of the center
float64 diameter
float64 thickness
foxglove_msgs/Color fill_color
foxglove_msgs/Color outline_color
""",
    "foxglove_msgs/PointsAnnotation": """\
uint8 UNKNOWN=0
uint8 POINTS=1
uint8 LINE_LOOP=2
uint8 LINE_STRIP=3
uint8 LINE_LIST=4
builtin_interfaces/Time timestamp
uint8 type
foxglove_msgs/Point2[] points
foxglove_msgs/Color outline_color
foxglove_msgs/Color[] outline_colors
foxglove_msgs/Color fill_color
float64 thickness
""",
    "foxglove_msgs/TextAnnotation": """\
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position  # of the lower left corner
string text
float64 font_size
foxglove_msgs/Color text_color
foxglove_msgs/Color background_color
""",
    "foxglove_msgs/Point2": """\
float64 x  # pixels from the left
float64 y  # pixels from the top
""",
    "foxglove_msgs/Color": """\
float64 r  # each is in 0..1
float64 g
float64 b
float64 a
""",
    "builtin_interfaces/Time": """\
int32 sec
uint32 nanosec
""",
}

IMAGE_ANNOTATIONS = RosSchema(
    "foxglove_msgs/msg/ImageAnnotations",
    "\n".join(
        f"{SEPARATOR}\nMSG: {name}\n{text}" if name else text for name, text in _DEFINITIONS.items()
    ),
)


def pack_annotations(detections: Detections) -> bytes:
    """Return the serialized message: a box and a text for each object, in source pixels."""
    seconds, nanoseconds = divmod(detections.stamp_ns, _SECOND_NS)
    time = struct.pack("<iI", max(-_MAX_S - 1, min(_MAX_S, seconds)), nanoseconds)
    colors = [_to_rgba(int(class_id)) for class_id in detections.class_ids]
    boxes = detections.boxes.tolist()
    body = bytearray(struct.pack("<II", 0, len(boxes)))  # no circles
    for (x1, y1, x2, y2), color in zip(boxes, colors, strict=True):
        corners = (x1, y1, x2, y1, x2, y2, x1, y2)
        body += time
        body += _BOX.pack(_LINE_LOOP, 4, *corners, *color, 0, *_NOTHING, _THICKNESS_PX)
    body += struct.pack("<I", len(boxes))
    text_px = max(_TEXT_PX, (detections.source_height or 0) * _TEXT_SHARE)
    for index, ((x1, y1, _, _), color) in enumerate(zip(boxes, colors, strict=True)):
        text = f"{detections.label(index)} {detections.scores[index]:.2f}".encode() + b"\0"
        body += time
        _align(body)
        body += struct.pack("<ddI", x1, y1, len(text)) + text
        _align(body)
        ink = _BLACK if sum(color[:3]) / 3 > _BRIGHT else _WHITE
        body += struct.pack("<d4d4d", text_px, *ink, *color)
    return _LITTLE_ENDIAN + bytes(body)


def _align(body: bytearray) -> None:
    """Fill up to a multiple of 8, at which numbers of 8 bytes begin."""
    body += bytes(-len(body) % 8)


def _to_rgba(class_id: int) -> tuple[float, float, float, float]:
    blue, green, red = class_color(class_id)
    return red / 255, green / 255, blue / 255, 1.0

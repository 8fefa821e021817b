"""Mutated, oversized and crafted messages, and a container that receives them."""

from __future__ import annotations

import importlib
import math
import random
import struct
import threading
import time
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import rclpy
from rclpy.context import Context
from rclpy.serialization import serialize_message
from rosidl_parser import definition as idl

from edge_inference.composition.bus import Bus, Subscription
from edge_inference.composition.container import Container
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.composition.process import load_components
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.media import open_media
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.core.voice import Transcript
from edge_inference.nodes.conversions.images import ImageAdapter
from edge_inference.nodes.conversions.voice import TranscriptAdapter

#: The robot's pipelines without devices.
PIPELINE = "robot"
ARGUMENTS = {"audio_source": "", "image_topic": "/camera/image_raw"}
#: Namespace of a second input, for compressed images.
COMPRESSED = "/compressed"
_PROCESSING_TIMEOUT_S = 60.0
_RESULT_TIMEOUT_S = 2.0
_MAX_ATTEMPTS = 30
_POLL_PERIOD_S = 0.02
# Nodes may still process the last message; memory is measured after this time.
_SETTLE_S = 0.2
_WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 20, 1 << 30)
_DOUBLES = (math.nan, math.inf, -math.inf, 1e308, -1.0, 1e-310, 2.0**63)
_HEADERS = tuple(
    bytes((0, kind, 0, options)) for kind in range(12) for options in (0, 1, 2, 3, 255)
)
_BODIES = range(65)


class MessageCost(NamedTuple):
    """The cost of some messages on one topic: seconds, and MiB above the memory before."""

    tried: int
    slowest_s: float
    peak_mib: float


def mutate_messages(base: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Yield ``count`` mutations of a valid message, among them headers with short bodies."""
    draw = random.Random(seed)
    short = [header + base[4 : 4 + size] for header in _HEADERS for size in _BODIES]
    yield from draw.sample(short, min(len(short), count // 3))
    for _ in range(count - min(len(short), count // 3)):
        yield _mutate(base, draw)


def _mutate(base: bytes, draw: random.Random) -> bytes:
    data = bytearray(base)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(4, len(data)) if len(data) > 4 else len(data)
        match draw.randrange(6):
            case 0:
                del data[at:]
            case 1 if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
            case 2:
                at -= at % 4
                data[at : at + 4] = struct.pack("<I", draw.choice((*_WORDS, len(data))))
            case 3:
                at -= at % 8 - 4
                data[at : at + 8] = struct.pack("<d", draw.choice(_DOUBLES))
            case 4:
                data[at:at] = draw.randbytes(draw.randint(1, 64))
            case _:
                data[at:at] = data[4:at][:256] * draw.randint(1, 50)
    return bytes(data)


def serialize_filled(message_type: type[Any], text: int, count: int, number: float = 1.0) -> bytes:
    """Serialize a message whose texts and sequences have the given lengths."""
    return bytes(serialize_message(_fill_message(message_type, text, count, number)))


def _fill_message(message_type: type[Any], text: int, count: int, number: float) -> Any:
    message = message_type()
    for name, kind in zip(
        message_type.get_fields_and_field_types(), message_type.SLOT_TYPES, strict=True
    ):
        setattr(message, name, _make_value(kind, text, count, number))
    return message


def _make_value(kind: Any, text: int, count: int, number: float) -> Any:
    if isinstance(kind, (idl.AbstractSequence, idl.Array)):
        size = kind.size if isinstance(kind, idl.Array) else count
        if isinstance(kind, idl.BoundedSequence):
            size = min(size, kind.maximum_size)
        inner = kind.value_type
        if isinstance(inner, idl.BasicType) and (code := _CODES.get(inner.typename)):
            return array(code, [_make_value(inner, 0, 0, number)]) * size
        # Nested messages are small, because a sequence of sequences would grow without end.
        return [_make_value(inner, min(text, 8), 1, number)] * size
    if isinstance(kind, idl.NamespacedType):
        module = importlib.import_module(".".join(kind.namespaces))
        return _fill_message(getattr(module, kind.name), text, count, number)
    if isinstance(kind, idl.AbstractGenericString):
        return "a" * text
    if kind.typename == "boolean":
        return True
    if kind.typename in ("octet", "char"):
        return b"\1" if kind.typename == "octet" else 1
    if kind.typename == "float":
        return number if abs(number) < 3e38 else math.inf
    return number if kind.typename == "double" else 1


_CODES = {
    **{"uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I", "int32": "i"},
    **{"uint64": "Q", "int64": "q", "float": "f", "double": "d"},
}


def worst_messages(message_type: type[Any]) -> Iterator[bytes]:
    """Yield the worst known messages of a type."""
    for text, count in ((1 << 20, 1), (16, 50_000), (60_000, 1_000), (0, 0)):
        yield serialize_filled(message_type, text, count)
    for number in (1e-310, 1e300, math.nan):
        yield serialize_filled(message_type, 8, 2, number)
    if message_type.__name__ == "CompressedImage":
        yield from (_compressed(image) for image in _images())


def _compressed(image: bytes) -> bytes:
    from sensor_msgs.msg import CompressedImage

    return bytes(serialize_message(CompressedImage(format="png", data=array("B", image))))


def _images() -> Iterator[bytes]:
    """Yield images that declare more than they contain, or contain far more than usual."""

    def chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
        size = len(body) if length is None else length
        return struct.pack(">I", size) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png(width: int, height: int, depth: int, color: int, *rest: bytes) -> bytes:
        head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(rest)

    yield png(64, 64, 8, 2, chunk(b"IDAT", b"", 0xFFFFFFF0))
    line = zlib.compress(bytes(16384 * 8 + 1) * 64)
    yield png(16384, 8192, 16, 6, chunk(b"IDAT", line), chunk(b"IEND", b""))
    yield png(65535, 65535, 8, 0, chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b""))
    frame = struct.pack(">BHHB", 8, 40_000, 40_000, 3) + b"\1\x11\0\2\x11\0\3\x11\0"
    start = b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame
    scan = b"\xff\xda" + struct.pack(">H", 12) + b"\3\1\0\2\0\3\0\0\x3f\0"
    yield b"\xff\xd8" + start + scan * 1000 + b"\xff\xd9"
    yield b"\xff\xd8" + b"\xff\xe0\0\x02" * 100_000
    yield b"II*\0" + bytes(64)  # a TIFF


class Target:
    """The shipped pipelines in a container; passes messages to it as the middleware does."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context)
        self._container = Container(self._context)
        arguments = dict(ARGUMENTS)
        failures = load_components(self._container, load_pipeline(PIPELINE).components(arguments))
        if failures:
            raise RuntimeError("; ".join(failures))
        compressed_input = [
            "--ros-args",
            "-r",
            f"__ns:={COMPRESSED}",
            "-p",
            "image_transport:=compressed",
        ]
        self._container.load("edge_inference::Preprocess", compressed_input)
        self._spinner = threading.Thread(target=self._container.spin)
        self._spinner.start()
        self._subscriptions: list[Subscription[Any]] = [
            subscription
            for component in self._container.components
            for subscription in component.node._own_subscriptions
        ]
        bus = Bus.of(self._context)
        self._detections: list[Any] = []
        self._plans: list[Any] = []
        bus.tap("/ai/detections", self._detections.append)
        bus.tap("/ai/action_plan", self._plans.append)
        #: The stamps of test inputs, of results, and of inputs that a stage reports as dropped.
        self._sent_stamps: set[int] = set()
        self._result_stamps: set[int] = set()
        self._dropped_stamps: set[int] = set()
        for topic in ("/ai/detections", "/ai/action_plan"):
            bus.tap(topic, lambda item: self._result_stamps.add(item.stamp_ns))
        bus.tap("/ai/stage_timing", self._note_drop)
        media = open_media("sample")
        image = media.read()
        media.close()
        assert image is not None
        self._image = image
        self._before = self._labels()

    def topics(self) -> list[tuple[str, type[Any]]]:
        """Return topic and message type of every subscription, in the order of ``attack``."""
        return [(each.topic, each._adapter.message_type) for each in self._subscriptions]

    def attack(self, index: int, seed: int, count: int) -> MessageCost:
        """Send mutated messages to one subscription."""
        subscription = self._subscriptions[index]
        base = serialize_filled(subscription._adapter.message_type, 3, 1)
        return self._send_all(subscription, mutate_messages(base, seed, count))

    def send_worst(self, index: int) -> MessageCost:
        """Send the worst messages to one subscription, one by one; return the highest cost."""
        subscription = self._subscriptions[index]
        found = []
        for message in worst_messages(subscription._adapter.message_type):
            found.append(self._send_all(subscription, [message]))
        return MessageCost(
            len(found), max(f.slowest_s for f in found), max(f.peak_mib for f in found)
        )

    def wrong(self) -> list[str]:
        """Return how the results of the sample image and of a sample command have changed."""
        problems = []
        try:
            labels = self._labels()
            if labels != self._before:
                problems.append(f"the sample image: expected {self._before}, got {labels}")
            plan = self._plan("go forward two meters")
            if plan != [("move", 2.0)]:
                problems.append(f"'go forward two meters' became {plan}")
        except TimeoutError as error:
            problems.append(str(error))
        return problems

    def lost(self) -> tuple[int, int]:
        """Return how many test inputs since the last call were dropped, and how many were lost.

        A lost input has no result, and no stage reports that it dropped it.
        """
        end = time.monotonic() + _RESULT_TIMEOUT_S
        while (
            self._sent_stamps - self._result_stamps - self._dropped_stamps
            and time.monotonic() < end
        ):
            time.sleep(_POLL_PERIOD_S)
        silent = self._sent_stamps - self._result_stamps
        lost = len(silent - self._dropped_stamps)
        for stamps in (self._sent_stamps, self._result_stamps, self._dropped_stamps):
            stamps.clear()
        return len(silent) - lost, lost

    def close(self) -> None:
        """Stop the container."""
        self._container.stop()
        self._spinner.join()
        self._container.close()
        self._context.try_shutdown()

    def _send_all(self, subscription: Subscription[Any], messages: Iterable[bytes]) -> MessageCost:
        resident = _reset_peak()
        tried, slowest = 0, 0.0
        for message in messages:
            done: Future[float] = Future()

            def take(data: bytes = message, done: Future[float] = done) -> None:
                started = time.monotonic()
                subscription._on_bytes(data)
                done.set_result(time.monotonic() - started)

            subscription._node.executor.create_task(take)
            slowest = max(slowest, done.result(_PROCESSING_TIMEOUT_S))
            tried += 1
        time.sleep(_SETTLE_S)
        return MessageCost(tried, slowest, _status_mib("VmHWM") - resident)

    def _note_drop(self, timing: StageTiming) -> None:
        if timing.dropped:
            self._dropped_stamps.add(timing.stamp_ns)

    def _labels(self) -> list[str]:
        """Return the labels of the detections in the sample image."""
        image = self._subscription("/camera/image_raw", "preprocess")
        pixels = self._image

        def send() -> None:
            now_ns = image._node.get_clock().now().nanoseconds
            self._sent_stamps.add(now_ns)
            frame = Frame.from_array(pixels, "bgr8", now_ns)
            image._node.executor.create_task(image._on_bytes, ImageAdapter().to_bytes(frame))

        result = self._wait_for_result(self._detections, send)
        return sorted(result.labels[each] for each in result.class_ids)

    def _plan(self, text: str) -> list[tuple[str, float | None]]:
        transcripts = self._subscription("/ai/transcript", "intent_parser")

        def send() -> None:
            now_ns = transcripts._node.get_clock().now().nanoseconds
            self._sent_stamps.add(now_ns)
            transcript = Transcript(text, 0.9, "command", now_ns, True)
            data = TranscriptAdapter().to_bytes(transcript)
            transcripts._node.executor.create_task(transcripts._on_bytes, data)

        plan = self._wait_for_result(self._plans, send)
        return [(step.action, step.distance_m) for step in plan.steps]

    def _wait_for_result(self, results: list[Any], send: Callable[[], None]) -> Any:
        """Send until a result arrives: a commanded rate may drop some inputs, but not all."""
        time.sleep(_SETTLE_S)
        results.clear()
        for _ in range(_MAX_ATTEMPTS):
            send()
            end = time.monotonic() + _RESULT_TIMEOUT_S
            while time.monotonic() < end:
                if results:
                    return results[-1]
                time.sleep(_POLL_PERIOD_S)
        raise TimeoutError(
            f"no result after {_MAX_ATTEMPTS} attempts of {_RESULT_TIMEOUT_S:g} s each"
        )

    def _subscription(self, topic: str, node: str) -> Subscription[Any]:
        return next(
            each
            for each in self._subscriptions
            if each.topic == topic and each._node.get_name() == node
        )


def _reset_peak() -> float:
    """Reset the kernel's peak memory (man 5 proc); return the resident memory in MiB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status_mib("VmRSS")


def _status_mib(name: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(
        int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{name}:")
    )

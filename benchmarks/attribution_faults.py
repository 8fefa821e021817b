"""Faults that hold the frames of a pipeline up, each made inside the process that it affects."""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType

from edge_inference.composition.bus import Bus
from edge_inference.composition.container import Container
from edge_inference.nodes.stage import FrameDropped

#: The topic on which each stage publishes.
OUTPUTS = {
    "preprocess": "/ai/tensor",
    "inference": "/ai/raw_output",
    "decode": "/ai/classification",
}
_PAGE = 4096
_BLOCK = bytes(1 << 17)
_CALIBRATION = 1_000_000
#: The bounds of the pause between two events that do not belong to a frame, in seconds.
_PAUSES_S = (0.01, 0.6)


@dataclass(frozen=True)
class Fault:
    """A fault of a stage, or of the process that runs it.

    Each of its events takes about ``ms``; it affects this ``share`` of the frames, or of the time.
    """

    kind: str
    stage: str
    ms: float
    share: float
    seed: int


def rest(ms: float) -> None:
    """Wait, without CPU time and without the interpreter lock."""
    time.sleep(ms / 1e3)


def burn(ms: float) -> None:
    """Use this much CPU time of the calling thread, without the interpreter lock."""
    end_ns = time.thread_time_ns() + round(ms * 1e6)
    while time.thread_time_ns() < end_ns:
        hashlib.sha256(_BLOCK)


def touch_new_pages(ms: float) -> None:
    """Map new memory and write to every page, until that has taken this much CPU time."""
    end_ns = time.thread_time_ns() + round(ms * 1e6)
    while time.thread_time_ns() < end_ns:
        with mmap.mmap(-1, 256 * _PAGE) as memory:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
            view = (ctypes.c_char * len(memory)).from_buffer(memory)
            ctypes.memset(view, 1, len(memory))
            del view


class LockHolder:
    """Holds the interpreter lock, as a call of C code does that does not release it."""

    def __init__(self) -> None:
        started = time.thread_time_ns()
        sum(range(_CALIBRATION))
        self._per_ms = _CALIBRATION / ((time.thread_time_ns() - started) / 1e6)
        self._api = ctypes.PyDLL(None)

    def compute(self, ms: float) -> None:
        """Hold it and compute."""
        sum(range(round(ms * self._per_ms)))

    def sleep(self, ms: float) -> None:
        """Hold it and sleep."""
        self._api.usleep(ctypes.c_uint(round(ms * 1e3)))


class FaultMaker:
    """Makes faults in the container of this process; ``nodes`` are its components by name."""

    def __init__(self, container: Container, nodes: dict[str, Any]) -> None:
        self._container = container
        self._nodes = nodes
        self._lock_holder = LockHolder()
        self._undo = ExitStack()

    def start(self, fault: Fault) -> None:
        """Make the fault from now on; one at a time."""
        randoms = random.Random(fault.seed)
        events = {"blocked": rest, "slow": burn, "page faults": touch_new_pages}
        holds = {
            "lock, running": self._lock_holder.compute,
            "lock, asleep": self._lock_holder.sleep,
        }
        if fault.kind in events:
            self._before_processing(fault, randoms, lambda: events[fault.kind](fault.ms))
        elif fault.kind in holds:
            self._beside(fault, randoms, lambda: holds[fault.kind](fault.ms))
        else:
            makers = {
                "drop": self._drop,
                "slow subscriber": self._delay_subscriber,
                "slow callback": self._delay_executor,
                "clock": self._shift_clock,
                "throttling": self._slow_down,
            }
            makers[fault.kind](fault, randoms)

    def stop(self) -> None:
        """End the fault."""
        self._undo.close()

    def _replace(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        """Replace a method of one object until the fault ends."""
        setattr(owner, name, replacement)
        self._undo.callback(delattr, owner, name)

    def _before_processing(
        self, fault: Fault, randoms: random.Random, event: Callable[[], None]
    ) -> None:
        node = self._nodes[fault.stage]
        process = node.process

        def process_with_fault(item: Any, settings: Any) -> Any:
            if randoms.random() < fault.share:
                event()
            return process(item, settings)

        self._replace(node, "process", process_with_fault)

    def _drop(self, fault: Fault, randoms: random.Random) -> None:
        def drop() -> None:
            raise FrameDropped("injected")

        self._before_processing(fault, randoms, drop)

    def _slow_down(self, fault: Fault, randoms: random.Random) -> None:
        """Slow all stages down as a lower clock does: ``share`` of full speed is left."""
        del randoms
        for node in self._nodes.values():
            if hasattr(node, "process"):
                self._replace(node, "process", _slowed(node.process, fault.share))

    def _beside(self, fault: Fault, randoms: random.Random, event: Callable[[], None]) -> None:
        """Make events in a thread beside the stages, for ``share`` of the time."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(_pause_s(fault, randoms)):
                event()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._undo.callback(thread.join)
        self._undo.callback(ended.set)

    def _delay_subscriber(self, fault: Fault, randoms: random.Random) -> None:
        """Add a subscriber in the process, whose callback is slow."""

        def receive(item: Any) -> None:
            del item
            if randoms.random() < fault.share:
                rest(fault.ms)

        bus = Bus.of(self._container.context)
        self._undo.callback(bus.tap(OUTPUTS[fault.stage], receive))

    def _delay_executor(self, fault: Fault, randoms: random.Random) -> None:
        """Add a timer whose callback is slow, to the executor that also receives the messages."""
        node = self._container.node
        due_ns = time.monotonic_ns()

        def run() -> None:
            nonlocal due_ns
            if time.monotonic_ns() >= due_ns:
                rest(fault.ms)
                due_ns = time.monotonic_ns() + round(_pause_s(fault, randoms) * 1e9)

        timer = node.create_timer(0.01, run, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._undo.callback(node.destroy_timer, timer)

    def _shift_clock(self, fault: Fault, randoms: random.Random) -> None:
        """Step the clock that a stage reads, by ``ms``."""
        del randoms
        node = self._nodes[fault.stage]
        now_ns = node.now_ns
        self._replace(node, "now_ns", lambda: now_ns() + round(fault.ms * 1e6))


def _slowed(process: Callable[[Any, Any], Any], speed: float) -> Callable[[Any, Any], Any]:
    def process_slowly(item: Any, settings: Any) -> Any:
        started_ns = time.thread_time_ns()
        output = process(item, settings)
        burn((time.thread_time_ns() - started_ns) / 1e6 * (1.0 / speed - 1.0))
        return output

    return process_slowly


def _pause_s(fault: Fault, randoms: random.Random) -> float:
    """Return a pause after which events take about ``share`` of the time."""
    mean_s = fault.ms / 1e3 * (1.0 / fault.share - 1.0)
    return min(max(mean_s * randoms.uniform(0.5, 1.5), _PAUSES_S[0]), _PAUSES_S[1])

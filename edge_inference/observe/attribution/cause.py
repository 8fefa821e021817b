"""The causes that hold frames up, and what a diagnosis says of them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

#: What identifies a frame: its frame_id, its stamp, and its place among those with the same stamp.
FrameKey = tuple[str, int, int]


class Cause(enum.Enum):
    """Why frames took longer than usual."""

    #: Behind a stage that is busy with the frame before, without a fault of its own.
    QUEUEING = "queueing"
    #: A stage computed for longer than usual.
    SLOW_PROCESSING = "slow_processing"
    #: A stage waited, for a device, a file, the network or a lock of its own.
    WAITING = "waiting"
    #: Another thread of the process held the lock of the Python interpreter.
    INTERPRETER_LOCK = "interpreter_lock"
    #: A thread was ready to run, and all cores that it may use were busy.
    BUSY_CORE = "busy_core"
    THROTTLING = "throttling"
    #: A subscriber in the same process, or the conversion to a message, delayed the publisher.
    SLOW_SUBSCRIBER = "slow_subscriber"
    PAGE_FAULTS = "page_faults"
    #: The clock moved, or stamps and clock do not belong together: the ages are wrong.
    CLOCK = "clock"
    #: A callback kept the executor from receiving a message.
    SLOW_CALLBACK = "slow_callback"
    #: On the way between two processes, or from the source.
    TRANSPORT = "transport"
    LOST_MESSAGES = "lost_messages"
    #: Frames were dropped, for a reason other than a busy stage.
    DROPS = "drops"
    PROCESS_STOPPED = "process_stopped"


@dataclass(frozen=True)
class CauseFinding:
    """A cause, with its evidence.

    ``subject`` is the full name of a node, a topic, or ``process <pid>``. ``ms`` is how much longer
    a frame of the window took because of it, on average; for a dropped frame the time until the
    next one counts. ``frames`` are those it affected, ``worst_ms`` is the most in one frame.
    ``nodes`` are the stages that it held up, most affected first. ``parameter`` is the parameter,
    key of a pipeline file, or option that mends it; empty if none does.
    """

    cause: Cause
    subject: str
    ms: float
    evidence: str
    hint: str
    parameter: str
    frames: int = 0
    worst_ms: float = 0.0
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """What held the frames of a window up, the worst first; no findings where nothing did.

    ``unknown`` says what could not be told, and why. ``held`` is how much longer a frame took
    because of the findings, in milliseconds.
    """

    findings: tuple[CauseFinding, ...]
    frames: int
    window_s: float
    unknown: tuple[str, ...] = ()
    held: Mapping[FrameKey, float] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The diagnosis in one sentence."""
        if not self.frames:
            return "no frames in the window"
        if not self.findings:
            return f"nothing held the {self.frames} frames of {self.window_s:.1f} s up"
        first = self.findings[0]
        others = f", and {len(self.findings) - 1} more" if len(self.findings) > 1 else ""
        name = first.cause.value.replace("_", " ")
        return f"{name} of {first.subject}: {first.ms:.1f} ms a frame{others}; {first.hint}"

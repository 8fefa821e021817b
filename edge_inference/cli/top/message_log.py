"""What a command and its libraries say while the terminal shows something else."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_inference.core.text_line import one_line

_MAX_MESSAGES = 200
_MAX_CHARACTERS = 500
_STDERR = 2
#: Another process may keep the end that writes open.
_MAX_JOIN_S = 1.0


class MessageLog:
    """The newest messages with their times (seconds since 1970); thread-safe."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._messages: deque[tuple[float, str]] = deque(maxlen=_MAX_MESSAGES)

    def add(self, text: str) -> None:
        """Keep a message, in one line; one that repeats the last is not kept twice."""
        line = one_line(text, _MAX_CHARACTERS)
        with self._lock:
            if line.strip() and not (self._messages and self._messages[-1][1] == line):
                self._messages.append((self._now_s(), line))

    def messages(self) -> tuple[tuple[float, str], ...]:
        """Return the messages, the oldest first."""
        with self._lock:
            return tuple(self._messages)


@contextmanager
def stderr_into(log: MessageLog) -> Iterator[None]:
    """Keep what is written on stderr in a log, where stderr is a terminal.

    Libraries write there past Python, which would spoil what the terminal shows.
    """
    if not os.isatty(_STDERR):
        yield
        return
    before = os.dup(_STDERR)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    reader = threading.Thread(target=_read_lines, args=(reading, log), name="stderr", daemon=True)
    reader.start()
    os.dup2(writing, _STDERR)
    os.close(writing)
    try:
        yield
    finally:
        os.dup2(before, _STDERR)  # closes the end that writes
        os.close(before)
        reader.join(_MAX_JOIN_S)


def _read_lines(descriptor: int, log: MessageLog) -> None:
    """Read lines until the writing end is closed; a long one is cut into several."""
    begun = b""
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while received := stream.read(4096):
            *lines, begun = (begun + received).split(b"\n")
            if len(begun) > _MAX_CHARACTERS:
                lines.append(begun)
                begun = b""
            for line in lines:
                log.add(line.decode(errors="replace"))
    log.add(begun.decode(errors="replace"))

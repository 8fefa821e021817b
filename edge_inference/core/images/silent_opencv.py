"""OpenCV's own lines on stderr, kept back where what goes wrong is told by us.

Its level is the process's: outside of our calls it stays as it is, for whoever else uses OpenCV.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

_lock = threading.Lock()
_inside = 0
_before = 0


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Have OpenCV write no lines during the block; several threads may be in one at a time."""
    global _inside, _before
    logging: Any = getattr(cv2.utils, "logging", None)
    if logging is None:  # older releases cannot be told
        yield
        return
    with _lock:
        if _inside == 0:
            _before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                logging.setLogLevel(_before)

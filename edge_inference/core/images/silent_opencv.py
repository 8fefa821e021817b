"""Suppresses OpenCV's log lines on stderr where this package reports the error itself.

The log level belongs to the process, so it is restored after each call for other users of OpenCV.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2

_lock = threading.Lock()
_depth = 0
_saved_level = 0


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Suppress OpenCV's log lines during the block; several threads may be in a block."""
    global _depth, _saved_level
    logging: Any = getattr(cv2.utils, "logging", None)
    if logging is None:  # older releases have no such setting
        yield
        return
    with _lock:
        if _depth == 0:
            _saved_level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                logging.setLogLevel(_saved_level)

"""The one place that imports TensorRT, and how its capabilities are asked for.

The same code serves TensorRT 8.6 to 11 and TensorRT-RTX. Members that all of
them have are used plainly; others through ``hasattr``, ``getattr`` or
:func:`enum_member`. Numbers of enum members and of versions are never compared:
both change their meaning between releases.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edge_inference.errors import BackendError

#: Module names, in order of preference.
MODULES = ("tensorrt", "tensorrt_rtx")

_KEPT_ERRORS = 16
_log = logging.getLogger(__name__)


class ErrorLog:
    """The latest errors that TensorRT reported; its calls only return None or False."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=_KEPT_ERRORS)

    def add(self, line: str) -> None:
        """Remember one error."""
        with self._lock:
            self._lines.append(line)

    @contextmanager
    def collect(self) -> Iterator[list[str]]:
        """Give a list that holds, after the block, the errors reported during it."""
        with self._lock:
            self._lines.clear()
        found: list[str] = []
        try:
            yield found
        finally:
            with self._lock:
                found.extend(self._lines)


@dataclass(frozen=True)
class Vendor:
    """An imported TensorRT. ``library`` is the module's name; ``logger`` is to be given to it."""

    trt: Any
    library: str
    version: str
    logger: Any
    errors: ErrorLog

    @property
    def title(self) -> str:
        """Name and version for people."""
        name = "TensorRT-RTX" if self.library == "tensorrt_rtx" else "TensorRT"
        return f"{name} {self.version}"


@functools.cache
def import_tensorrt(modules: Sequence[str] = MODULES) -> Vendor:
    """Import the first TensorRT that works. Raises BackendError where none does.

    TensorRT takes one logger a process, so the result is made once.
    """
    reasons = []
    for name in modules:
        try:
            trt = importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(f"{name}: {_first_line(error)}")
            continue
        errors = ErrorLog()
        logger = make_logger(trt, errors)
        if hasattr(trt, "init_libnvinfer_plugins"):
            trt.init_libnvinfer_plugins(logger, "")
        return Vendor(trt, name, str(trt.__version__), logger, errors)
    raise BackendError(
        f"TensorRT cannot be imported ({'; '.join(reasons)}); install the Python package "
        "of the JetPack or TensorRT release on this machine"
    )


def enum_member(enum: Any, name: str) -> Any:
    """Return a member of one of TensorRT's enums, or None where this version lacks it."""
    return getattr(enum, name, None)


def first_reason(lines: Sequence[str], otherwise: str) -> str:
    """Return the errors' first sentence, which names the cause; later ones follow from it."""
    return lines[0].strip().splitlines()[0].rstrip(".") if lines else otherwise


def make_logger(trt: Any, errors: ErrorLog) -> Any:
    """Return a logger for TensorRT that keeps errors; a level that nobody knows is one, too."""
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING,
        trt.ILogger.INFO: logging.DEBUG,
        trt.ILogger.VERBOSE: logging.NOTSET,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Hands TensorRT's messages to Python's logging and keeps the errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity, logging.ERROR)
            if level == logging.ERROR:
                errors.add(message)
            if level:
                # Errors become exceptions in our own words; the original is for those who look.
                _log.log(min(level, logging.INFO), "%s", message)

    return Logger()


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

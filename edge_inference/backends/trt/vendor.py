"""Imports TensorRT, as the only module, and tests its capabilities.

The same code works with TensorRT 8.6 to 11 and TensorRT-RTX. It uses members of all these
versions directly, others through ``hasattr``, ``getattr`` or :func:`enum_member`. It never
compares numbers of enum members or versions: their meaning changes between releases.
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

_MAX_ERRORS = 16
_log = logging.getLogger(__name__)


class ErrorLog:
    """The latest errors that TensorRT logged; its calls return only None or False."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=_MAX_ERRORS)

    def add(self, line: str) -> None:
        """Add an error."""
        with self._lock:
            self._lines.append(line)

    @contextmanager
    def collect(self) -> Iterator[list[str]]:
        """Yield a list that holds, after the block, the errors logged during it."""
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
    """An imported TensorRT. ``library`` is the module name; pass ``logger`` to TensorRT."""

    trt: Any
    library: str
    version: str
    logger: Any
    errors: ErrorLog

    @property
    def title(self) -> str:
        """Name and version for messages."""
        name = "TensorRT-RTX" if self.library == "tensorrt_rtx" else "TensorRT"
        return f"{name} {self.version}"


@functools.cache
def import_tensorrt(modules: Sequence[str] = MODULES) -> Vendor:
    """Import the first TensorRT that works. Raises BackendError if none does.

    TensorRT accepts one logger per process, so the result is cached.
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
    """Return a member of a TensorRT enum, or None where this version lacks it."""
    return getattr(enum, name, None)


def first_reason(lines: Sequence[str], default: str) -> str:
    """Return the first error, which names the cause; later ones follow from it."""
    return lines[0].strip().splitlines()[0].rstrip(".") if lines else default


def make_logger(trt: Any, errors: ErrorLog) -> Any:
    """Return a logger for TensorRT that collects errors; unknown levels count as errors."""
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING,
        trt.ILogger.INFO: logging.DEBUG,
        trt.ILogger.VERBOSE: logging.NOTSET,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Passes TensorRT's messages to Python's logging and collects the errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            level = levels.get(severity, logging.ERROR)
            if level == logging.ERROR:
                errors.add(message)
            if level:
                # Errors become exceptions; the original text is logged at level info.
                _log.log(min(level, logging.INFO), "%s", message)

    return Logger()


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

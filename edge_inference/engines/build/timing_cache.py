"""The timing cache: TensorRT's measurements of earlier builds, in a file.

A build does not depend on it. A file that does not fit (another TensorRT, another GPU,
damage) is not used, and is replaced after the build.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.vendor import Vendor
from edge_inference.core.bounded_file import read_bytes

_MAX_FILE_BYTES = 1 << 30


class TimingCacheFile:
    """One timing cache file. ``state`` is "none", "new", "used" or "replaced".

    ``notes`` are sentences for the user on problems with the file.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.state = "none"
        self.notes: list[str] = []

    def attach(self, vendor: Vendor, config: Any) -> None:
        """Set the file's measurements, or an empty cache, in the builder configuration."""
        if self._file is None:
            return
        if hasattr(vendor.trt, "IRuntimeCache"):
            # TensorRT-RTX measures at an engine's first run and uses its runtime cache.
            self.notes.append(f"{vendor.title} measures nothing during a build: no timing cache")
            return
        content = self._read()
        self.state = "new"
        if content and not self._set(vendor, config, content):
            self.state = "replaced"
            self.notes.append(
                f"{self._file}: made by another TensorRT or GPU, or damaged; replaced"
            )
        elif content:
            self.state = "used"
        if self.state != "used":
            self._set(vendor, config, b"")

    def reset(self, vendor: Vendor, config: Any) -> None:
        """Set an empty cache, after a build with the file's measurements failed."""
        self.state = "replaced"
        self.notes.append(f"{self._file}: the build failed with it and was repeated without")
        self._set(vendor, config, b"")

    def save(self, config: Any) -> None:
        """Write the measurements atomically. A failure adds a note."""
        if self._file is None or self.state == "none":
            return
        timing_cache = config.get_timing_cache()
        if timing_cache is None:
            return
        try:
            _write_atomically(self._file, bytes(timing_cache.serialize()))
        except OSError as error:
            self.notes.append(
                f"{self._file}: not written ({error.strerror}); later builds are slow"
            )

    def _read(self) -> bytes:
        assert self._file is not None
        try:
            return read_bytes(self._file, _MAX_FILE_BYTES)
        except FileNotFoundError:
            return b""
        except OSError as error:
            self.notes.append(f"{self._file}: cannot be read ({error.strerror}); not used")
            return b""

    def _set(self, vendor: Vendor, config: Any, content: bytes) -> bool:
        with vendor.errors.collect() as errors:
            timing_cache = config.create_timing_cache(content)
            is_set = timing_cache is not None and config.set_timing_cache(timing_cache, False)
        return bool(is_set) and not errors


def _write_atomically(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise

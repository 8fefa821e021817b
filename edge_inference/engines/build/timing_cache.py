"""The timing cache: what TensorRT measured in earlier builds, kept in a file.

It is a help, never a need: one that does not fit (another TensorRT, another
GPU, a damaged file) is left unused, and replaced after the build.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_inference.backends.trt.vendor import Vendor
from edge_inference.core.bounded_file import read_bytes

_LARGEST_FILE = 1 << 30


class TimingCacheFile:
    """One timing cache file. ``notes`` say what became of it; ``state`` is what was used.

    ``state`` is "none", "new", "used" or "replaced".
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.state = "none"
        self.notes: list[str] = []

    def attach(self, vendor: Vendor, config: Any) -> None:
        """Give the builder's configuration the file's measurements, or an empty cache."""
        if self._file is None:
            return
        if hasattr(vendor.trt, "IRuntimeCache"):
            # It measures when an engine first runs and keeps that in the runtime cache.
            self.notes.append(f"{vendor.title} measures nothing while building: no timing cache")
            return
        content = self._read()
        self.state = "new"
        if content and not self._try(vendor, config, content):
            self.state = "replaced"
            self.notes.append(
                f"{self._file}: made by another TensorRT or GPU, or damaged; replaced"
            )
        elif content:
            self.state = "used"
        if self.state != "used":
            self._try(vendor, config, b"")

    def give_up(self, vendor: Vendor, config: Any) -> None:
        """Start anew, after a build with the file's measurements failed."""
        self.state = "replaced"
        self.notes.append(f"{self._file}: the build failed with it and was tried again without")
        self._try(vendor, config, b"")

    def save(self, config: Any) -> None:
        """Write what is known now, whole or not at all. Trouble is a note."""
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
            return read_bytes(self._file, _LARGEST_FILE)
        except FileNotFoundError:
            return b""
        except OSError as error:
            self.notes.append(f"{self._file}: cannot be read ({error.strerror}); not used")
            return b""

    def _try(self, vendor: Vendor, config: Any, content: bytes) -> bool:
        with vendor.errors.collect() as errors:
            timing_cache = config.create_timing_cache(content)
            taken = timing_cache is not None and config.set_timing_cache(timing_cache, False)
        return bool(taken) and not errors


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

"""One ONNX file, built with fakes of TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder_fakes import Release
from edge_inference.core.settings import build
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.build_progress import BuildProgress
from edge_inference.engines.build.builder import BuiltEngine, build_engine
from edge_inference.errors import BackendError


class Bench:
    """Builds the same file with several fakes."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "model.onnx"
        self.file.write_bytes(b"\x08\x08\x3a\x00")  # IR version 8, and an empty graph
        self.cache = folder / "timing" / "here.cache"
        self.reports: list[BuildProgress] = []

    def build(self, release: Release, **options: Any) -> BuiltEngine:
        return self.build_with(release, {}, **options)

    def build_with(self, release: Release, how: dict[str, Any], **options: Any) -> BuiltEngine:
        self.reports = []
        return build_engine(
            self.file,
            build(BuildOptions, options),
            vendor=release.vendor(),
            progress=self.reports.append,
            **how,
        )

    def fails(self, release: Release, **options: Any) -> str:
        with pytest.raises(BackendError) as caught:
            self.build(release, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

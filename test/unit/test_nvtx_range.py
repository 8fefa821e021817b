"""Ranges for NVIDIA's tools: nothing unless asked for."""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType

import pytest

from edge_inference.core.runtime.nvtx_range import VARIABLE, stage_range
from edge_inference.errors import ConfigError


class _Recorded(ModuleType):
    """Stands for the package nvtx; it needs no GPU, but is not installed everywhere."""

    def __init__(self) -> None:
        super().__init__("nvtx")
        self.ranges: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def annotate(self, message: str, domain: str):  # type: ignore[no-untyped-def]
        self.ranges.append((message, domain))
        yield


@pytest.mark.parametrize("value", [None, "", "0"])
def test_nothing_is_imported_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    monkeypatch.setitem(sys.modules, "nvtx", None)
    mark = stage_range("inference")
    for _ in range(2):  # one object marks every frame
        with mark:
            pass


def test_a_range_has_the_name_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = _Recorded()
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setitem(sys.modules, "nvtx", recorded)
    with stage_range("inference"):
        assert recorded.ranges == [("inference", "edge_inference")]


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setitem(sys.modules, "nvtx", None)
    with pytest.raises(ConfigError, match=r"NVTX ranges: nvtx is not installed; pip install nvtx"):
        stage_range("inference")

"""The fast int8 mode passes the checks of every engine and is reported."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge_inference.backends.cpu_instructions import CpuInstructions
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache import artifacts
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.precision import int8_mode
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.engine_check import check_engine
from edge_inference.engines.serving.selection import Selection, prepare
from edge_inference.errors import ModelError
from sensitive_model import load_sensitive


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "sound", is_sensitive=False)


@pytest.fixture
def without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (int8_mode, artifacts):
        monkeypatch.setattr(
            module, "find_cpu_instructions", lambda: CpuInstructions("avx2", saturates=True)
        )


def prepared(model: ModelDescription, mode: str, folder: Path) -> Selection:
    return prepare(EngineRequest(model, "ort", "int8", int8_mode=mode), ArtifactCache(folder))


@pytest.mark.usefixtures("without_vnni")
@pytest.mark.parametrize(
    ("mode", "words"),
    [("exact", "int8 exact, no VNNI"), ("fast", "int8 fast, 7-bit weights, no VNNI")],
)
def test_an_engine_reports_its_int8_mode(
    mode: str, words: str, model: ModelDescription, tmp_path: Path
) -> None:
    selection = prepared(model, mode, tmp_path)
    assert selection.int8_mode == mode
    assert selection.backend is not None
    with selection.backend as backend:
        assert backend.describe().endswith(f"model.onnx, {words}")
        checked = check_engine(selection, backend, golden="off")
    assert "passed on" in checked.notes["self-check"]
    assert checked.precision == "int8"


@pytest.mark.usefixtures("without_vnni")
def test_the_error_for_an_inaccurate_fast_engine_has_a_hint(
    model: ModelDescription, tmp_path: Path
) -> None:
    strict = dataclasses.replace(model, self_check=SelfCheckThresholds(sqnr_db=60.0))
    for mode, hint in (
        ("fast", "; set int8_mode to exact, or set self_check to warn"),
        ("exact", "; set self_check to warn"),
    ):
        selection = prepared(strict, mode, tmp_path)
        assert selection.backend is not None
        with selection.backend as backend, pytest.raises(ModelError) as caught:
            check_engine(selection, backend, golden="off")
        assert hint in str(caught.value)
        assert "at least 60 dB is needed" in str(caught.value)


def test_with_vnni_both_modes_are_the_same(
    model: ModelDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (int8_mode, artifacts):
        monkeypatch.setattr(
            module, "find_cpu_instructions", lambda: CpuInstructions("avx_vnni", saturates=False)
        )
    exact, fast = (prepared(model, mode, tmp_path) for mode in ("exact", "fast"))
    assert exact.artifact == fast.artifact
    assert fast.int8_mode is None
    assert "precision int8: requested" in fast.reason
    assert len(ArtifactCache(tmp_path).entries()) == 1

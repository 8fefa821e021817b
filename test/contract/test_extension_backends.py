"""Backends of installed packages: chosen by name, checked, timed, and told when they are broken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_inference.cli.command_line import run
from edge_inference.core.measured_costs import MeasuredCosts
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.engines.serving.backend_table import BACKENDS, EngineRequest
from edge_inference.engines.serving.cost_recording import engine_configuration
from edge_inference.engines.serving.preparation import check_in_child, prepare_in_child
from edge_inference.engines.serving.selection import Selection, prepare, select_backend
from edge_inference.engines.serving.server import EngineFailure, EngineServer
from edge_inference.errors import BackendError, PluginError
from edge_inference.optimize.compare import comparable_backends
from installed_extension import extension_package_installed, installed, write_metadata

#: A backend of a package whose functions a test replaces by others, with errors.
BROKEN = """
import dataclasses
from edge_inference.backends.null import NullBackend
from edge_inference.engines.cache.artifacts import Artifact, onnx_for
from edge_inference.engines.serving.backend_table import BACKENDS, BackendCandidate

ROW = BackendCandidate(
    "broken",
    lambda: None,
    lambda request, precision: onnx_for(request.model, precision, "onnxruntime"),
    lambda request, precision, file: NullBackend((), ()),
)

class Unmade(Artifact):
    def find(self, cache): return None
    def discard(self, cache): return False
    def make(self, cache, progress, cancelled): raise OSError("no compiler")

class Lost(Unmade):
    def find(self, cache): raise RuntimeError("no folder")

class Failing(NullBackend):
    name = "broken"
    def _open(self): raise RuntimeError("no device")

def fail(*arguments):
    raise ValueError("a bug")
"""
Install = Callable[[str], None]
DEADLINE_S = 120.0


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Provide a function that installs BROKEN with changed arguments of its row."""
    folder = tmp_path / "packages"
    folder.mkdir()

    def install(changes: str) -> None:
        text = f"{BROKEN}\nROW = dataclasses.replace(ROW, {changes})\n"
        (folder / "broken_backend.py").write_text(text)
        name = "auto" if "auto" in changes else "broken"
        entry = f"[edge_inference.backends]\n{name} = broken_backend:ROW\n"
        write_metadata(folder, "broken_backend", entry)

    with installed(folder):
        yield install


@pytest.fixture
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def never() -> bool:
    return False


def ignore(phase: str, fraction: float | None) -> None:
    pass


# An intact one ----------------------------------------------------------------------------------


def test_it_is_unknown_without_its_package(model: ModelDescription, cache: ArtifactCache) -> None:
    with pytest.raises(PluginError, match="unknown backend 'opencv'; known: null, ort, ort-cuda"):
        select_backend(EngineRequest(model, "opencv"), cache)


@pytest.mark.usefixtures("extension_package")
def test_it_is_chosen_by_its_name_only(model: ModelDescription, cache: ArtifactCache) -> None:
    chosen = select_backend(EngineRequest(model, "opencv"), cache)
    assert (chosen.name, chosen.precision) == ("opencv", "fp32")
    assert "precision fp32: default of opencv" in chosen.reason
    assert select_backend(EngineRequest(model), cache).name != "opencv"
    assert list(BACKENDS.rows()) == ["trt", "ort-cuda", "ort", "null", "opencv"]
    assert comparable_backends() == ("ort", "trt", "ort-cuda", "opencv")


@pytest.mark.usefixtures("extension_package")
def test_it_computes_what_onnx_runtime_does(model: ModelDescription, cache: ArtifactCache) -> None:
    inputs = {"image": np.random.default_rng(0).random(model.input.shape, np.float32)}
    results = []
    for name in ("opencv", "ort"):
        chosen = select_backend(EngineRequest(model, name), cache)
        assert chosen.backend is not None
        with chosen.backend as backend:
            results.append(backend.infer(inputs)["logits"])
    np.testing.assert_allclose(*results, atol=1e-3)


@pytest.mark.usefixtures("extension_package")
def test_a_precision_that_it_does_not_have_is_refused(
    model: ModelDescription, cache: ArtifactCache
) -> None:
    with pytest.raises(BackendError, match="'opencv': expected precision fp32, got fp16"):
        select_backend(EngineRequest(model, "opencv", "fp16"), cache)


@pytest.mark.usefixtures("extension_package")
def test_a_child_process_finds_and_checks_it(model: ModelDescription, cache: ArtifactCache) -> None:
    request = EngineRequest(model, "opencv")
    prepare_in_child(request, cache, ignore, never)
    checked = check_in_child(request, cache, "refuse", "refuse", never)
    assert {"golden check", "self-check"} <= checked.notes.keys()
    assert checked.warnings == ()
    configuration = engine_configuration(request, "opencv", "fp32", cache)
    assert configuration is not None
    assert configuration.execution.startswith("OpenCV ")
    known: MeasuredCosts = CostCache(cache.folder).read(pytest.fail)
    assert configuration in {cost.configuration for cost, _ in known.newest_of_model(model.name)}


@pytest.mark.usefixtures("extension_package")
def test_the_command_line_checks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    assert run(["models", "check", "efficientnet_lite0", "--backend", "opencv"]) == 0
    text = capsys.readouterr().out
    assert "backend opencv: requested" in text
    assert "self-check: passed" in text


def test_its_costs_harm_nobody_when_its_package_is_gone(
    tmp_path: Path,
    model: ModelDescription,
    cache: ArtifactCache,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(cache.folder))
    folder = tmp_path / "packages"
    folder.mkdir()
    with extension_package_installed(folder):
        check_in_child(EngineRequest(model, "opencv"), cache, "off", "refuse", never)
        assert run(["models", "--json"]) == 0
        assert "OpenCV " in capsys.readouterr().out
    assert run(["models", "--json"]) == 0
    output, errors = capsys.readouterr()
    assert "OpenCV " not in output
    assert errors == ""


# A broken one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("precision='fp8'", "precision: expected one of fp32, fp16, int8 or None, got 'fp8'"),
        ("make=None", "make: expected a function"),
        ("execution='GPU'", "execution: expected a function or None"),
    ],
)
def test_a_row_that_cannot_work_is_refused(
    install: Install, model: ModelDescription, cache: ArtifactCache, changes: str, reason: str
) -> None:
    install(changes)
    assert "broken" not in BACKENDS.rows()
    with pytest.raises(PluginError, match=reason):
        select_backend(EngineRequest(model, "broken"), cache)
    assert select_backend(EngineRequest(model, "ort"), cache).name == "ort"


def test_none_may_be_named_auto(install: Install) -> None:
    install("name='auto'")
    (problem,) = BACKENDS.problems()
    assert problem.endswith("the name auto stands for the automatic choice; choose another one")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("unavailable_reason=lambda: 'no device'", "broken not available: no device"),
        ("unavailable_reason=fail", "unavailable_reason failed: ValueError: a bug"),
        ("artifact=fail", "artifact failed: ValueError: a bug"),
        ("artifact=lambda *_: 'file'", "artifact must return an Artifact, got str"),
        ("artifact=lambda *_: Lost()", "finding its file failed: RuntimeError: no folder"),
        ("artifact=lambda *_: Unmade()", "making its file failed: OSError: no compiler"),
        ("make=fail", "make failed: ValueError: a bug"),
        ("make=lambda *_: None", "make must return a Backend, got NoneType"),
    ],
)
def test_an_error_of_its_functions_is_an_error_of_the_backend(
    install: Install, model: ModelDescription, cache: ArtifactCache, changes: str, reason: str
) -> None:
    install(changes)
    with pytest.raises(BackendError, match=reason):
        prepare(EngineRequest(model, "broken"), cache)
    with pytest.raises(BackendError, match=reason):
        prepare_in_child(EngineRequest(model, "broken"), cache, ignore, never)


@pytest.mark.parametrize("changes", ["execution=fail", "execution=None"])
def test_without_what_decides_its_time_there_is_no_configuration(
    install: Install, model: ModelDescription, cache: ArtifactCache, changes: str
) -> None:
    install(changes)
    request = EngineRequest(model, "broken")
    assert engine_configuration(request, "broken", "fp32", cache) is None


@pytest.mark.parametrize(
    "changes", ["make=fail", "make=lambda *_: Failing((), ())", "artifact=lambda *_: Unmade()"]
)
def test_another_engine_serves_instead_and_the_error_is_told(
    install: Install, model: ModelDescription, cache: ArtifactCache, changes: str
) -> None:
    install(changes)
    failures: list[EngineFailure] = []
    is_told = threading.Event()

    def check(selection: Selection, *arguments: object) -> dict[str, str]:
        return {}

    def on_failed(failure: EngineFailure) -> None:
        failures.append(failure)
        is_told.set()

    server = EngineServer(cache, check, lambda engine: None, on_failed)
    try:
        server.open(EngineRequest(model, "broken"))
        assert server.engine is not None
        assert (server.engine.selection.name, server.engine.is_fallback) == ("ort", True)
        assert is_told.wait(DEADLINE_S)
    finally:
        server.close()
    (failure,) = failures
    assert "backend 'broken'" in str(failure.error)

"""Changed weights beside an unchanged ONNX file are another model, wherever a model is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_inference.backends.trt.metadata import Environment
from edge_inference.cli.command_line import run
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.core.weights.onnx_files import onnx_digest
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.cache.artifact_cache import ArtifactCache, key_of
from edge_inference.engines.cache.artifacts import EnginePlan, onnx_for
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.cost_recording import engine_configuration
from edge_inference.engines.serving.selection import prepare, select_backend
from edge_inference.errors import CacheError, ModelError
from external_weights import DATA, change_weights, retrain, split_model
from sensitive_model import load_sensitive
from small_model import write_images, write_model


@pytest.fixture
def model(tmp_path: Path) -> ModelDescription:
    return split_model(write_model(tmp_path / "small"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactCache:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    return ArtifactCache(tmp_path / "cache")


def derived_digest(model: ModelDescription) -> str:
    return key_of(onnx_for(model, "fp16", "tensorrt").parts())  # type: ignore[union-attr]


def plan_key(precision: str) -> Callable[[ModelDescription], str]:
    here = Environment("tensorrt", "10.3.0", "Linux", "x86_64", "Orin", "8.7")
    options = BuildOptions(precision=precision)

    def key(model: ModelDescription) -> str:
        onnx = onnx_for(model, precision, "tensorrt")
        return key_of(EnginePlan(model, onnx, options, here).parts())

    return key


IDENTITIES: dict[str, Callable[[ModelDescription], str]] = {
    "the description": lambda model: model.variants["fp32"].digest,
    "the files": lambda model: onnx_digest(model.variants["fp32"].file),
    "a derived model": derived_digest,
    "a plan": plan_key("fp32"),
    "a plan of a derived model": plan_key("fp16"),
}


@pytest.mark.parametrize("what", IDENTITIES)
def test_retrained_weights_are_another_model(what: str, model: ModelDescription) -> None:
    identify = IDENTITIES[what]
    before, network = identify(model), model.variants["fp32"].file.read_bytes()
    assert identify(load_model(model.folder)) == before
    again = retrain(model)
    assert again.variants["fp32"].file.read_bytes() == network
    assert identify(again) != before


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_retrained_weights_have_no_measured_cost(
    precision: str, model: ModelDescription, cache: ArtifactCache
) -> None:
    before = configuration(model, precision, cache)
    assert before == configuration(model, precision, cache)
    again = retrain(model)
    if precision == "fp16":  # it is derived again, since it depends on the weights
        assert engine_configuration(EngineRequest(again), "ort", precision, cache) is None
    assert configuration(again, precision, cache) != before


def configuration(model: ModelDescription, precision: str, cache: ArtifactCache) -> Any:
    """Return what measured costs are recorded for."""
    request = EngineRequest(model, "ort", precision)
    prepare(request, cache)
    found = engine_configuration(request, "ort", precision, cache)
    assert found is not None
    return found


def test_a_calibration_does_not_fit_retrained_weights(tmp_path: Path, cache: ArtifactCache) -> None:
    calibrated = load_sensitive(tmp_path / "m", is_sensitive=False)
    with pytest.raises(ModelError, match="its calibration belongs to another ONNX file"):
        prepare(EngineRequest(split_model(calibrated.folder), "ort", "int8"), cache)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("change", [change_weights, Path.unlink])
def test_changed_weights_that_model_yaml_does_not_know_are_refused(
    precision: str,
    change: Callable[[Path], object],
    model: ModelDescription,
    cache: ArtifactCache,
) -> None:
    """A cached fp16 model of the old weights must not serve in their place."""
    request = EngineRequest(model, "ort", precision)
    assert prepare(request, cache).backend is not None
    change(model.folder / DATA)
    with pytest.raises(ModelError, match=rf"{DATA}: (wrong checksum|no such file)"):
        select_backend(request, cache)


@pytest.mark.parametrize("name", ["model.onnx", "entry.json"])
@pytest.mark.parametrize("damage", ["altered", "cut", "empty", "folder"])
def test_a_damaged_derived_model_is_not_opened_and_made_again(
    name: str, damage: str, model: ModelDescription, cache: ArtifactCache
) -> None:
    request = EngineRequest(model, "ort", "fp16")
    prepare(request, cache)
    (entry,) = cache.entries()
    file, network = entry.folder / name, (entry.folder / "model.onnx").read_bytes()
    data = file.read_bytes()
    if damage == "folder":
        file.unlink()
        file.mkdir()
    else:
        middle = len(data) // 2
        altered = bytes(byte ^ 21 for byte in data[middle : middle + 4])
        file.write_bytes(
            {
                "altered": data[:middle] + altered + data[middle + 4 :],
                "cut": data[:middle],
                "empty": b"",
            }[damage]
        )
    selection = select_backend(request, cache)
    assert selection.backend is None
    assert str(file) in selection.damaged
    with pytest.raises(CacheError):
        selection.artifact.find(cache)
    prepare(request, cache)
    assert (entry.folder / "model.onnx").read_bytes() == network
    (again,) = cache.entries()
    again.verify()
    assert again.key == entry.key


def summary(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, Any]:
    code = run([*map(str, arguments), "--json"])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return dict(json.loads(shown.out.splitlines()[-1]))


def test_quantize_copies_the_external_weights(
    model: ModelDescription, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "images", 8)
    output = tmp_path / "quantized"
    summary(capsys, "quantize", model.folder, "--calibration", images, "--output", output)
    made = load_model(output)
    made.verify_files()
    assert made.variants["fp32"].external_data == model.variants["fp32"].external_data
    assert (output / DATA).read_bytes() == (model.folder / DATA).read_bytes()


@pytest.mark.parametrize("command", [("compare", "--precisions", "fp32,fp16"), ("bisect",)])
def test_the_tools_take_a_model_with_external_weights(
    command: tuple[str, ...],
    model: ModelDescription,
    cache: ArtifactCache,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, *options = command
    options += ["--precision", "fp16"] if name == "bisect" else []
    summary(capsys, name, model.folder, *options)

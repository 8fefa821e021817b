"""Models derived from networks with external weights."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edge_inference.engines.precision import external_weights
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.used_precision import onnxruntime_precisions
from edge_inference.errors import ModelError
from hostile_files import assert_one_sentence
from precision_networks import calibrated, classifier, make_images, run


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return classifier(tmp_path / "net.onnx")


def split(network: Path, folder: Path, location: str = "net.onnx.data") -> Path:
    """Write the network into a folder, with external weights."""
    folder.mkdir()
    file = folder / "net.onnx"
    model = onnx.load(network)
    (folder / location).parent.mkdir(exist_ok=True)
    onnx.save(
        model, file, save_as_external_data=True, location=Path(location).name, size_threshold=0
    )
    if (folder / location) != folder / Path(location).name:
        (folder / Path(location).name).rename(folder / location)
    name(file, location)
    return file


def name(file: Path, location: str, **values: str) -> None:
    """Change the location of external weights in a network."""
    model = onnx.load(file, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = {"location": location, **values}.get(entry.key, entry.value)
    file.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["net.onnx.data", "./net.onnx.data", "weights/net.data"])
def test_external_weights_are_embedded(network: Path, tmp_path: Path, location: str) -> None:
    file = split(network, tmp_path / "split", location)
    assert derived(file, tmp_path / "a.onnx") == derived(network, tmp_path / "b.onnx")


def test_external_weights_may_be_links(network: Path, tmp_path: Path) -> None:
    file = split(network, tmp_path / "split")
    for place in (file, file.with_name("net.onnx.data")):
        blob = tmp_path / f"blob_{place.name}"
        place.rename(blob)
        place.symlink_to(f"../{blob.name}")
    assert derived(file, tmp_path / "a.onnx") == derived(network, tmp_path / "b.onnx")


def derived(file: Path, made: Path) -> list[float]:
    """Return the outputs of the fp16 model of a network."""
    derive(file, "fp16", "onnxruntime", made)
    (batch,) = make_images(1)
    return [float(number) for number in run(made, batch)[0].ravel()]


def test_a_network_with_external_weights_can_be_calibrated(network: Path, tmp_path: Path) -> None:
    file = split(network, tmp_path / "split")
    derive(file, "int8", "onnxruntime", tmp_path / "a.onnx", calibration=calibrated(file))
    derive(network, "int8", "onnxruntime", tmp_path / "b.onnx", calibration=calibrated(network))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_its_real_precision_is_known(network: Path, tmp_path: Path) -> None:
    file = split(network, tmp_path / "split")
    assert onnxruntime_precisions(file) == onnxruntime_precisions(network) == {"fp32": 3}


@pytest.mark.parametrize("values", [{"offset": "-1"}, {"length": "much"}, {"offset": "9" * 30}])
def test_an_invalid_offset_or_length_is_refused(
    network: Path, tmp_path: Path, values: dict[str, str]
) -> None:
    file = split(network, tmp_path / "split")
    name(file, "net.onnx.data", **values)
    assert_one_sentence(refusal(file), "net.onnx")


@pytest.mark.parametrize("location", ["../net.onnx.data", "/etc/passwd", ""])
def test_weights_outside_the_folder_are_refused(
    network: Path, tmp_path: Path, location: str
) -> None:
    file = split(network, tmp_path / "split")
    name(file, location)
    assert "in the model's folder" in refusal(file)


def test_missing_or_truncated_weights_are_named(network: Path, tmp_path: Path) -> None:
    file = split(network, tmp_path / "split")
    weights = file.with_name("net.onnx.data")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "net.onnx.data: expected at least" in refusal(file)
    weights.unlink()
    assert "copy it, too" in refusal(file)


def test_a_tensor_that_no_onnx_file_can_hold_is_refused(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = split(network, tmp_path / "split")
    monkeypatch.setattr(external_weights, "MAX_WEIGHTS_BYTES", 4096)
    assert "too large" in refusal(file)


def refusal(file: Path) -> str:
    """Return the error for a network."""
    with pytest.raises(ModelError) as caught:
        fold(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import onnx
import pytest

from edge_inference.core.models.model_search import available_models
from edge_inference.errors import ConfigError, ModelError
from edge_inference.speech.recognition.speech_model import (
    available_speech_models,
    find_speech_model,
    load_speech_model,
)

SHIPPED = Path(__file__).parents[2] / "models"
CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def described(folder: Path, file: str = "vad.onnx", sha256: str = SHA256, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    text = f"task: activity\nlicense: MIT\n{more}files:\n  model:\n    file: {file}\n"
    (folder / "speech.yaml").write_text(text + f"    sha256: {sha256}\n")
    return folder


def test_a_folder_without_a_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no speech model; expected a speech\.yaml in it"):
        load_speech_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("task: activity\nlicense: MIT\n", "files: missing; expected a mapping"),
        ("task: singing\nlicense: MIT\nfiles: {}\n", "line 1, task: expected one of recognition"),
        ("task: activity\nfiles: {}\n", "license: missing"),
        ("task: activity\nlicense: MIT\nfiles: {}\n", "files.model: missing"),
        (
            "task: activity\nlicense: MIT\nfiles:\n  encoder: {}\n",
            "line 4, files.encoder: unknown key; known: model",
        ),
    ],
)
def test_invalid_description_is_reported_with_its_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "speech.yaml").write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_speech_model(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "speech.yaml"))


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("../vad.onnx", "expected a file inside the model folder"),
        ("/vad.onnx", "expected a file inside the model folder"),
        ("package:numpy", "expected package:<package>/<path"),
        ("package:numpy/../vad.onnx", "expected package:<package>/<path"),
        ("package:a.b/vad.onnx", "expected package:<package>/<path"),
        ("'package:'", "expected package:<package>/<path"),
    ],
)
def test_file_outside_the_folder_is_refused(tmp_path: Path, file: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"line 5, files.model.file: {complaint}"):
        load_speech_model(described(tmp_path, file))


def test_invalid_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="sha256: expected 64 lower-case hexadecimal digits"):
        load_speech_model(described(tmp_path, sha256="abc"))


def test_missing_package_is_reported_with_a_hint(tmp_path: Path) -> None:
    folder = described(tmp_path, "package:no_such/vad.onnx", more="install: pip install it\n")
    with pytest.raises(ModelError, match=r"no_such, which contains vad\.onnx, .*: pip install it"):
        load_speech_model(folder)


def test_a_file_in_the_folder_is_found_and_checked(tmp_path: Path) -> None:
    model = load_speech_model(described(tmp_path))
    with pytest.raises(ModelError, match=r"vad\.onnx: no such file; copy it there"):
        model.path("model")
    (tmp_path / "vad.onnx").write_bytes(CONTENT + b"!")
    with pytest.raises(ModelError, match=f"expected sha256 {SHA256}, got "):
        model.verify_files()
    (tmp_path / "vad.onnx").write_bytes(CONTENT)
    assert model.path("model") == tmp_path / "vad.onnx"
    model.verify_files()


def test_a_file_in_a_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "brings_weights"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "data" / "vad.onnx").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = described(tmp_path / "model", "package:brings_weights/data/vad.onnx")
    assert load_speech_model(folder).path("model") == package / "data" / "vad.onnx"
    assert "brings_weights" not in sys.modules


def test_a_recognizer_may_have_a_split_decoder(tmp_path: Path) -> None:
    roles = ["decoder", "decoder_with_past", "encoder", "tokenizer"]
    text = "task: recognition\nlicense: MIT\nfiles:\n"
    for role in roles:
        text += f"  {role}: {{file: {role}.onnx, sha256: {SHA256}}}\n"
    (tmp_path / "speech.yaml").write_text(text)
    model = load_speech_model(tmp_path)
    assert sorted(model.files) == roles
    assert model.graphs == ("encoder", "decoder", "decoder_with_past")


def test_models_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    for place in (mine, shipped):
        place.mkdir()
        described(place / "ears")
    described(shipped / "other")
    assert find_speech_model("ears", [mine, shipped]).folder == mine / "ears"
    assert find_speech_model("other", [mine, shipped]).name == "other"
    assert find_speech_model(str(mine / "ears"), []).folder == mine / "ears"
    with pytest.raises(ModelError, match=r"unknown speech model 'eras'; did you mean 'ears'\?"):
        find_speech_model("eras", [mine])
    with pytest.raises(ModelError, match="unknown user"):
        find_speech_model("~nobody-of-that-name/ears", [])


def test_speech_models_and_vision_models_are_separate() -> None:
    speech, others = available_speech_models([SHIPPED]), available_models([SHIPPED])
    assert {"moonshine_tiny", "silero_vad"} <= set(speech)
    assert set(speech).isdisjoint(others)
    for folder in speech.values():
        assert (folder / "NOTICE.md").is_file()


def test_external_weights_of_a_graph_are_verified(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    network = onnx.helper.make_model(graph).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(network)
    (tmp_path / "w.bin").write_bytes(bytes(8))
    digests = [hashlib.sha256(data).hexdigest() for data in (network, bytes(8))]
    text = "task: activity\nlicense: MIT\nfiles:\n  model: {file: model.onnx, sha256: %s%s}\n"
    (tmp_path / "speech.yaml").write_text(text % (digests[0], ""))
    with pytest.raises(ModelError, match=f"external_data: {{w.bin: {digests[1]}}}"):
        load_speech_model(tmp_path).verify_files()
    listed = f", external_data: {{w.bin: {digests[1]}}}"
    (tmp_path / "speech.yaml").write_text(text % (digests[0], listed))
    load_speech_model(tmp_path).verify_files()
    (tmp_path / "w.bin").write_bytes(b"changed!")
    with pytest.raises(ModelError, match=r"w\.bin: wrong checksum.*into speech\.yaml"):
        load_speech_model(tmp_path).path("model")

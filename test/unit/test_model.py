"""A model folder is read completely, or refused with the line of the error."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_inference.core.decoders.classification import ClassificationSettings
from edge_inference.core.models.labels import read_threshold
from edge_inference.core.models.model import load_model
from edge_inference.core.models.model_search import (
    SEARCH_PATH_VARIABLE,
    available_models,
    command_argument,
    default_search_path,
    find_model,
)
from edge_inference.core.models.variants import Accuracy
from edge_inference.errors import ConfigError, ModelError

WEIGHTS = b"not really weights"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()

GOOD = f"""\
task: classification
license: CC0
input:
  name: data
  width: 8
  height: 4
decoder:
  name: classification
  top_k: 2
labels: labels.txt
variants:
  fp32:
    file: weights.onnx
    sha256: {SHA256}
    accuracy:
      - {{dataset: made up, metric: top-1, value: 1, samples: 2}}
golden:
  - image: golden.png
    classes:
      - {{label: cat, score: 0.9}}
    score: 0.2
"""


def make(parent: Path, text: str = GOOD, name: str = "mine") -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(text)
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "weights.onnx").write_bytes(WEIGHTS)
    (folder / "golden.png").write_bytes(b"image")
    return folder


def test_everything_in_the_file_is_in_the_description(tmp_path: Path) -> None:
    folder = make(tmp_path)
    model = load_model(folder)
    assert (model.name, model.folder, model.task, model.license) == (
        "mine",
        folder,
        "classification",
        "CC0",
    )
    assert model.input.shape == (1, 3, 4, 8)
    assert model.decoder == "classification"
    assert model.decoder_settings == ClassificationSettings(top_k=2)
    assert model.labels == ("cat", "dog")
    variant = model.variants["fp32"]
    assert variant.file == folder / "weights.onnx"
    assert variant.accuracy == (Accuracy("made up", "top-1", 1.0, 2),)
    (golden,) = model.golden
    assert golden.image == folder / "golden.png"
    assert (golden.tolerance.score, golden.tolerance.iou) == (0.2, 0.8)
    model.verify_files()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "task: classification\n",
            "",
            "line 1, task: unknown result kind ''; known: ",
        ),
        (
            "task: classification",
            "task: dancing",
            "line 1, task: unknown result kind 'dancing'",
        ),
        ("license: CC0", "licence: CC0", "line 2, licence: unknown key; did you mean 'license'?"),
        ("width: 8", "width: abc", "line 5, input.width: expected an integer from 1 to 16384"),
        ("width: 8", "widht: 8", "line 5, input.widht: unknown key; did you mean 'width'?"),
        ("height: 4", "height: 4\n  mean: [1, 2]", "input: mean: expected 1 or 3 entries"),
        ("input:", "inputs:", "line 3, inputs: unknown key; did you mean 'input'?"),
        ("name: classification", "name: clasification", "line 8, decoder.name: unknown decoder"),
        ("name: classification", "name: [1]", "line 8, decoder.name: expected the name of a"),
        ("top_k: 2", "top_k: 0", "line 9, decoder.top_k: expected an integer from 1 to 1000"),
        ("top_k: 2", "topk: 2", "line 9, decoder.topk: unknown key; did you mean 'top_k'?"),
        ("labels.txt", "[cat, no]", "line 10, labels: expected texts, got False; put it in quotes"),
        ("labels.txt", "gone.txt", "line 10, labels: "),
        ("labels.txt", "5", "line 10, labels: expected a file name"),
        (
            "labels.txt",
            f"[cat, {'long' * 65}]",
            "line 10, labels: expected a text of at most 256 characters as name of class 1, got "
            "260 characters, 'longlong",
        ),
        ("labels.txt", '["\\ud800", dog]', "name of class 0, got half of a surrogate pair"),
        ("labels.txt", "../labels.txt", "line 10, labels: expected a file inside the model"),
        ("fp32:", "fp23:", "line 12, variants.fp23: unknown key; did you mean"),
        ("weights.onnx", "/etc/passwd", "line 13, variants.fp32.file: expected a file inside"),
        ("weights.onnx", "a/../../b", "line 13, variants.fp32.file: expected a file inside"),
        ("weights.onnx", "'..\\b'", "line 13, variants.fp32.file: expected a file inside"),
        ("weights.onnx", "'C:\\b'", "line 13, variants.fp32.file: expected a file inside"),
        ("weights.onnx", "''", "line 13, variants.fp32.file: expected a file name"),
        (SHA256, "abc", "variants.fp32: sha256: expected 64 lower-case hexadecimal digits"),
        ("value: 1", "value: good", "variants.fp32.accuracy[0].value: expected a number"),
        ("samples: 2", "samples: 0", "accuracy[0].samples: expected an integer of at least 1"),
        ("image: golden.png", "image: ../x", "golden[0].image: expected a file inside"),
        (
            "label: cat",
            "label: cow",
            "golden[0].classes[0].label: expected one of the model's labels, got 'cow'",
        ),
        ("score: 0.2", "skore: 0.2", "golden[0].skore: unknown key; did you mean 'score'?"),
        ("classes:", "objects:", "golden[0].objects: unknown key"),
        ("task: classification", "task: depth", "golden images are for detection"),
    ],
)
def test_an_error_is_reported_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    folder = make(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load_model(folder)
    assert str(folder / "model.yaml") in str(caught.value)


def test_nothing_to_check_is_refused(tmp_path: Path) -> None:
    text = GOOD[: GOOD.index("    classes:")] + "    classes: []\n"
    with pytest.raises(ConfigError, match="there is nothing to check"):
        load_model(make(tmp_path, text))


@pytest.mark.parametrize("variants", ["variants: {}\n", "variants: 3\n", ""])
def test_a_model_has_at_least_one_variant(tmp_path: Path, variants: str) -> None:
    text = GOOD[: GOOD.index("variants:")] + variants
    with pytest.raises(ConfigError, match="variants: "):
        load_model(make(tmp_path, text))


def test_labels_may_be_in_the_yaml_file_or_absent(tmp_path: Path) -> None:
    inline = make(tmp_path, GOOD.replace("labels.txt", "[cat, 'no']"), "inline")
    assert load_model(inline).labels == ("cat", "no")
    text = GOOD[: GOOD.index("golden:")].replace("labels: labels.txt\n", "")
    assert load_model(make(tmp_path, text, "bare")).labels == ()


@pytest.mark.parametrize("text", ["", "\n \n", "cat\n\ndog\n"])
def test_an_empty_label_is_refused(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path)
    (folder / "labels.txt").write_text(text)
    with pytest.raises(
        ConfigError, match=r"line 10, labels: .*labels\.txt (is empty|has an empty line, line 2);"
    ):
        load_model(folder)


@pytest.mark.parametrize("make_it", [False, True])
def test_a_folder_without_a_description_is_refused(tmp_path: Path, make_it: bool) -> None:
    folder = tmp_path / "x"
    if make_it:
        folder.mkdir()
    with pytest.raises(ModelError, match=r"not a model folder; expected a model\.yaml"):
        load_model(folder)


def test_altered_weights_are_refused_with_both_checksums(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "weights.onnx").write_bytes(WEIGHTS + b"!")
    altered = hashlib.sha256(WEIGHTS + b"!").hexdigest()
    with pytest.raises(ModelError, match=f"expected sha256 {SHA256}, got {altered}"):
        load_model(folder).verify_files()


@pytest.mark.parametrize("name", ["weights.onnx", "golden.png"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = make(tmp_path)
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        load_model(folder).verify_files()


def test_links_may_lead_out_as_a_symlink_install_does(tmp_path: Path) -> None:
    folder = make(tmp_path)
    target = tmp_path / "target.onnx"
    (folder / "weights.onnx").rename(target)
    (folder / "weights.onnx").symlink_to(target)
    load_model(folder).verify_files()


def test_a_name_is_found_on_the_path_and_the_first_wins(tmp_path: Path) -> None:
    first = make(tmp_path / "a")
    make(tmp_path / "b")
    other = make(tmp_path / "b", name="other")
    path = (tmp_path / "missing", tmp_path / "a", tmp_path / "b")
    assert find_model("mine", path).folder == first
    assert find_model("other", path).folder == other
    assert available_models(path) == {"mine": first, "other": other}


def test_a_path_needs_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path)
    assert find_model(str(folder), ()).name == "mine"
    monkeypatch.chdir(tmp_path)
    assert find_model("./mine", ()).name == "mine"
    monkeypatch.chdir(folder)
    assert find_model(".", ()).name == "mine"


def test_a_command_names_a_model_so_that_it_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, hidden = make(tmp_path / "a"), make(tmp_path / "b")
    odd = make(tmp_path / "b", name="odd name")
    monkeypatch.setenv(SEARCH_PATH_VARIABLE, f"{tmp_path / 'a'}")
    monkeypatch.chdir(tmp_path / "b")
    assert command_argument(load_model(first)) == "mine"
    assert command_argument(load_model(hidden)) == str(hidden)
    assert command_argument(load_model(odd)) == f"'{odd}'"
    for path in ("./mine", "../a/../b/mine"):
        assert find_model(command_argument(find_model(path))).folder.samefile(hidden)
    monkeypatch.delenv(SEARCH_PATH_VARIABLE)
    assert command_argument(load_model(first)) == str(first)


def test_an_unknown_name_lists_the_available_models(tmp_path: Path) -> None:
    make(tmp_path / "a")
    with pytest.raises(ModelError) as caught:
        find_model("mime", (tmp_path / "a", tmp_path / "b"))
    assert "unknown model 'mime'; did you mean 'mine'?" in str(caught.value)
    assert f"{tmp_path / 'a'}: mine; {tmp_path / 'b'}: none" in str(caught.value)


def test_an_empty_search_path_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="searched in no folder"):
        find_model("mine", ())


def test_the_default_path_starts_with_the_variable(tmp_path: Path) -> None:
    prefix = tmp_path / "install"
    shared = prefix / "share" / "edge_inference" / "models"
    shared.mkdir(parents=True)
    environ = {
        SEARCH_PATH_VARIABLE: os.pathsep.join(["/mine", "", "/mine", "~/models"]),
        "AMENT_PREFIX_PATH": os.pathsep.join([str(tmp_path / "none"), str(prefix)]),
    }
    path = default_search_path(environ)
    assert path[:2] == (Path("/mine"), Path("~/models").expanduser())
    assert shared in path
    assert tmp_path / "none" / "share" / "edge_inference" / "models" not in path


def test_the_shipped_models_are_found_without_any_variable() -> None:
    assert {"nanodet", "efficientnet_lite0"} <= set(available_models(default_search_path({})))


def test_the_longest_label_is_as_long_as_the_longest_name_in_a_message(tmp_path: Path) -> None:
    folder = make(tmp_path, GOOD[: GOOD.index("golden:")], "long")
    (folder / "labels.txt").write_text("\N{GRINNING FACE}" * 256 + "\n" + "d" * 256 + "\n")
    labels = load_model(folder).labels
    assert [len(label.encode()) for label in labels] == [1024, 256]
    (folder / "labels.txt").write_text("d" * 257)
    with pytest.raises(ConfigError, match="got 257 characters"):
        load_model(folder)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"confidence": 0.25}, 0.25),
        ({"confidence": 1}, 1.0),
        ({"threshold": 0.5}, 0.5),
        ({"threshold": 0.5, "confidence": 0.0}, 0.0),
        ({"confidence": "high"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_threshold_of_any_decoder(values: dict[str, Any], expected: float) -> None:
    assert read_threshold(SimpleNamespace(**values)) == expected

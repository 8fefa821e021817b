"""Wherever a file from outside is read: what is there instead is refused in a sentence."""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_inference.backends.trt.metadata import read_sidecar
from edge_inference.cli.params_file import find_unused_entries
from edge_inference.cli.perception.run_options import RunOptions
from edge_inference.cli.voice.expectations import load_expectation
from edge_inference.composition.launch_description import _check_parameter_files
from edge_inference.composition.parameter_format import parse_value
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core.bounded_file import parse_json, read_bytes, read_text
from edge_inference.core.images.media import ImageFiles, open_media
from edge_inference.core.models.golden_check import read_image
from edge_inference.core.models.model import load_model
from edge_inference.core.models.model_search import find_model, parse_search_path
from edge_inference.core.weights.onnx_files import onnx_digest
from edge_inference.core.yaml_file import load_yaml
from edge_inference.engines.cache.cache_entry import read_entry
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.derivation import calibration_digest
from edge_inference.errors import ConfigError, EdgeInferenceError, ModelError
from edge_inference.nodes.voice.parameter_files import load_grammar
from edge_inference.optimize.images.labeled_images import load_labeled_table
from edge_inference.optimize.quantized_folder import StagedFolder
from edge_inference.optimize.sentence_encoder import read_bert_config, read_safetensors
from edge_inference.platforms.board_files import load_boards
from edge_inference.platforms.recording.recording import read_recording
from edge_inference.speech.actions.limits_file import read_limits
from edge_inference.speech.audio.audio_file import read_blocks
from edge_inference.speech.audio.sources import open_audio_input
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language_model.json_tokenizer import load_json_tokenizer
from edge_inference.speech.planning.scene_sentences import read_names
from edge_inference.speech.recognition.speech_model import load_speech_model
from edge_inference.speech.recognition.tokenizer import load_tokenizer
from hostile_files import (
    UNREADABLE_FILES,
    YAML_TEXTS,
    assert_one_sentence,
    call_with_deadline,
    write_content,
)

Reader = Callable[[Path], object]

#: What reads YAML, by the name that it reads it under.
YAML_READERS: dict[str, tuple[str, Reader]] = {
    "any": ("some.yaml", load_yaml),
    "model": ("model.yaml", lambda file: load_model(file.parent)),
    "speech model": ("speech.yaml", lambda file: load_speech_model(file.parent)),
    "pipeline": ("some.yaml", lambda file: load_pipeline(str(file))),
    "board": ("some.yaml", lambda file: load_boards([file.parent])),
    "grammar": ("grammar.yaml", read_grammar),
    "limits": ("limits.yaml", read_limits),
    "scene": ("scene.yaml", read_names),
    "expectation": ("expected.yaml", load_expectation),
    "parameters": ("some.yaml", lambda file: find_unused_entries(file, {})),
    "parameters of a run": (
        "some.yaml",
        lambda file: RunOptions("sample", params_file=str(file)).check(find_model("nanodet")),
    ),
    "parameters of a launch": ("some.yaml", lambda file: _check_parameter_files(str(file))),
}


def _with_labels(file: Path) -> None:
    shipped = find_model("nanodet").folder / "model.yaml"
    (file.parent / "model.yaml").write_text(shipped.read_text())
    load_model(file.parent)


def _with_weights(file: Path) -> None:
    shipped = find_model("nanodet").folder
    for name in ("model.yaml", "labels.txt", "golden"):
        (file.parent / name).symlink_to(shipped / name)
    load_model(file.parent).variants["fp32"].verify()


def _with_calibration(file: Path) -> None:
    shipped = find_model("nanodet").folder
    for name in ("model.yaml", "labels.txt"):
        (file.parent / name).symlink_to(shipped / name)
    calibration_digest(load_model(file.parent), "int8")


def _with_speech_weights(file: Path) -> None:
    write_content(
        file.parent / "speech.yaml",
        f"task: activity\nlicense: MIT\nfiles:\n  model: {{file: {file.name}, sha256: {'a' * 64}}}",
    )
    load_speech_model(file.parent).verify_files()


READERS: dict[str, tuple[str, Reader]] = {
    **YAML_READERS,
    "labels": ("labels.txt", _with_labels),
    "weights": ("nanodet.onnx", _with_weights),
    "weights for speech": ("silero.onnx", _with_speech_weights),
    "ranges in a model": ("calibration.json", _with_calibration),
    "ranges": ("calibration.json", Calibration.load),
    "checksum": ("some.onnx", onnx_digest),
    "golden image": ("0.png", read_image),
    "image": ("a.png", lambda file: ImageFiles([file]).read()),
    "image of a source": ("a.png", lambda file: open_media(str(file)).read()),
    "video of a source": ("a.mp4", lambda file: open_media(str(file)).read()),
    "images with classes": (
        "table.csv",
        lambda file: load_labeled_table(find_model("efficientnet_lite0"), file, None),
    ),
    "shape": ("config.json", read_bert_config),
    "safetensors": ("model.safetensors", read_safetensors),
    "tokenizer": ("tokenizer.bin", load_tokenizer),
    "tokens": ("tokenizer.json", load_json_tokenizer),
    "sidecar of a plan": ("some.plan.json", lambda file: read_sidecar(file.parent / "some.plan")),
    "entry of the cache": ("entry.json", lambda file: read_entry(file.parent)),
    "recording": ("some.jsonl", read_recording),
    "packed recording": ("some.jsonl.gz", read_recording),
    "sound": ("some.wav", lambda file: list(read_blocks(file, 0.1))),
    "raw sound": ("some.raw", lambda file: list(read_blocks(file, 0.1))),
}
if importlib.util.find_spec("tokenizers") is None:
    del READERS["tokens"]

#: Looked for in the folder that they lie in; what is no file is not found.
FOUND_IN_FOLDERS = ("model", "speech model")


@pytest.mark.parametrize("what", UNREADABLE_FILES)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused(tmp_path: Path, reader: str, what: str) -> None:
    name, read = READERS[reader]
    if (reader, what) == ("video of a source", "sparse"):
        pytest.skip("a video may have any length; FFmpeg reads as much of it as it needs")
    UNREADABLE_FILES[what](tmp_path / name)
    error = call_with_deadline(lambda: read(tmp_path / name))
    assert isinstance(error, EdgeInferenceError), repr(error)
    assert_one_sentence(error, name)


@pytest.mark.parametrize("text", YAML_TEXTS)
def test_yaml_that_costs_too_much_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "some.yaml"
    write_content(file, YAML_TEXTS[text])
    error = call_with_deadline(lambda: load_yaml(file))
    assert isinstance(error, ConfigError), repr(error)
    assert_one_sentence(error, file.name)


@pytest.mark.parametrize(
    "text", ["brackets", "billion laughs", "sexagesimal", "digits", "invalid UTF-8"]
)
@pytest.mark.parametrize("reader", YAML_READERS)
def test_so_it_is_by_whoever_reads_yaml(tmp_path: Path, reader: str, text: str) -> None:
    name, read = YAML_READERS[reader]
    write_content(tmp_path / name, YAML_TEXTS[text])
    error = call_with_deadline(lambda: read(tmp_path / name))
    assert isinstance(error, EdgeInferenceError), repr(error)
    assert_one_sentence(error, name)


@pytest.mark.parametrize(
    "text", [YAML_TEXTS[name] for name in ("brackets", "billion laughs", "sexagesimal")]
)
def test_a_parameter_that_costs_too_much_stays_a_text(text: str) -> None:
    value = text.partition(": ")[2]
    read = None

    def read_it() -> None:
        nonlocal read
        read = parse_value(value)

    assert call_with_deadline(read_it) is None
    assert read == value


#: What a reader of JSON cannot follow, or cannot write down again.
JSON_TEXTS = {
    "brackets": "[" * 100_000,
    "braces": '{"a":' * 100_000,
    "digits": '{"ranges": ' + "9" * 200_000 + "}",
    "digits that Python reads": '{"ranges": ' + "9" * 4_000 + "}",
    "no number": '{"ranges": NaN}',
    "another encoding": b'{"a": "\xff"}',
    "a list": "[]",
    "a text": '"' + "x" * 10_000 + '"',
    "values": '{"format": 1, "ranges": [' + "1, " * 100_000 + "1]}",
    "half": '{"format": 1',
    "nothing": "",
}
JSON_READERS = {
    name: READERS[name]
    for name in (
        "ranges",
        "shape",
        "tokens",
        "sidecar of a plan",
        "entry of the cache",
        "recording",
    )
    if name in READERS
}


@pytest.mark.parametrize("text", JSON_TEXTS)
@pytest.mark.parametrize("reader", JSON_READERS)
def test_json_that_is_none_is_refused(tmp_path: Path, reader: str, text: str) -> None:
    name, read = JSON_READERS[reader]
    write_content(tmp_path / name, JSON_TEXTS[text])
    error = call_with_deadline(lambda: read(tmp_path / name))
    assert isinstance(error, EdgeInferenceError), repr(error)
    assert_one_sentence(error, name)


@pytest.mark.parametrize(
    "header",
    [
        '{"w": {"dtype": "F32", "shape": [' + "9" * 90 + '], "data_offsets": [0, 64]}}',
        "[" * 100_000,
        '{"w": {"dtype": "F32", "shape": [-1, 9]}}',
        "1",
    ],
)
def test_safetensors_of_a_strange_header(tmp_path: Path, header: str) -> None:
    file = tmp_path / "model.safetensors"
    write_content(file, len(header).to_bytes(8, "little") + header.encode() + bytes(64))
    error = call_with_deadline(lambda: read_safetensors(file))
    assert isinstance(error, EdgeInferenceError), repr(error)
    assert_one_sentence(error, file.name)


def test_a_recording_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.jsonl.gz"
    line = json.dumps({"format": "edge-inference-platform/1", "board": "x"}).encode()
    with gzip.open(file, "wb", 9) as stream:
        stream.write(line)
        for _ in range(300):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    error = call_with_deadline(lambda: read_recording(file))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(error, EdgeInferenceError), repr(error)
    assert "line 1: expected lines of at most" in str(error)
    assert peak < 64 << 20


@pytest.mark.parametrize("key", ["file", "labels", "image"])
def test_a_name_with_a_nul_in_a_model_is_refused(tmp_path: Path, key: str) -> None:
    text = (find_model("nanodet").folder / "model.yaml").read_text()
    write_content(
        tmp_path / "labels.txt", (find_model("nanodet").folder / "labels.txt").read_text()
    )
    write_content(tmp_path / "model.yaml", re.sub(rf"(?m)\b{key}: .*", rf'{key}: "a\\0b"', text))
    error = call_with_deadline(lambda: load_model(tmp_path))
    assert isinstance(error, ConfigError), repr(error)
    assert_one_sentence(error, "model.yaml")
    assert "NUL" in str(error)


@pytest.mark.parametrize(
    "find",
    [
        find_model,
        load_pipeline,
        open_media,
        lambda name: find_model("nanodet", parse_search_path(name)),
        lambda name: load_yaml(Path(name)),
        lambda name: read_grammar(Path(name)),
        lambda name: list(read_blocks(Path(name + ".wav"), 0.1)),
        open_audio_input,
        load_grammar,
    ],
)
@pytest.mark.parametrize("name", ["./a\0b", "a\0b.yaml", "./\ud800", "./" + "a" * 5_000])
def test_a_name_that_no_file_can_have_is_refused(find: Callable[[str], object], name: str) -> None:
    error = call_with_deadline(lambda: find(name))
    assert isinstance(error, EdgeInferenceError), repr(error)


def test_pipelines_that_include_more_and_more_are_refused(tmp_path: Path) -> None:
    head = "name: some\ndescription: some\n"
    for number in range(30):
        names = [{"pipeline": f"p{number + 1}"}] * 2
        write_content(tmp_path / f"p{number}.yaml", f"{head}include: {json.dumps(names)}\n")
    write_content(tmp_path / "p30.yaml", f"{head}arguments: {{}}\ncomponents: []\n")
    error = call_with_deadline(lambda: load_pipeline(str(tmp_path / "p0.yaml")))
    assert isinstance(error, ConfigError), repr(error)
    assert "expected at most 64 included pipelines" in str(error)


def test_a_model_folder_without_an_end_is_not_copied(tmp_path: Path) -> None:
    model = shutil.copytree(find_model("nanodet").folder, tmp_path / "nanodet")
    for name in ("a", "b", "c"):
        (model / name).symlink_to(".")
    with pytest.raises(ModelError, match="links in a circle"):
        StagedFolder(model, tmp_path / "new").__enter__()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["nanodet"]


def test_a_device_in_a_model_folder_is_not_copied(tmp_path: Path) -> None:
    model = shutil.copytree(find_model("nanodet").folder, tmp_path / "nanodet")
    (model / "notes.txt").symlink_to("/dev/zero")
    with pytest.raises(ModelError, match="expected a file, got a device"):
        StagedFolder(model, tmp_path / "new").__enter__()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["nanodet"]


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    """As files of the kernel, which tell no length before."""
    with pytest.raises(OSError, match="expected at most 5 bytes, got"):
        read_bytes(Path("/proc/self/status"), 5)
    write_content(tmp_path / "a", "one\r\ntwo\rthree")
    assert read_text(tmp_path / "a") == "one\ntwo\nthree"


def test_a_byte_order_mark_is_none_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\r\n")
    assert read_text(tmp_path / "a") == "one\n"
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf")
    assert read_text(tmp_path / "a") == ""


def test_sound_json_is_read() -> None:
    assert parse_json('{"a": [1, -2.5e3, null, true, "x"]}') == {"a": [1, -2500.0, None, True, "x"]}

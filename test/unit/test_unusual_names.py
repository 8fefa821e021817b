"""Files, folders and topics with names that something between us and the file may misread."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.cli import command_line
from edge_inference.cli.perception.frame_tracker import FrameRecord
from edge_inference.cli.perception.run_options import RunOptions
from edge_inference.cli.perception.run_output import RunJsonLines
from edge_inference.cli.perception.source import SourceKind, is_topic_name, source_kind
from edge_inference.composition.parameter_format import format_value, parse_value
from edge_inference.composition.pipeline import load_pipeline
from edge_inference.core.images.media import open_media
from edge_inference.core.models.model_search import find_model, parse_search_path
from edge_inference.core.results import Detections
from edge_inference.errors import ModelError, SourceError

MISREAD = ("yes", "1e3", "007", "null", "a #1.jpg", "new\nline.jpg", "'quoted'", "[1].jpg", "a: b")


def source_of_the_node(options: RunOptions, parameter: str) -> object:
    components = load_pipeline("perception").components(options.pipeline_arguments())
    return next(
        component.parameters[parameter]
        for component in components
        if parameter in component.parameters
    )


@pytest.mark.parametrize("name", MISREAD)
def test_a_source_reaches_the_node_as_it_was_written(name: str) -> None:
    assert source_of_the_node(RunOptions(name), "source") == name


@pytest.mark.parametrize("name", MISREAD)
def test_a_model_reaches_the_nodes_as_it_was_written(name: str) -> None:
    assert source_of_the_node(RunOptions("sample", model=name), "model") == name


@pytest.mark.parametrize("text", ["./a #1.jpg", "one\ntwo", "  spaces  "])
def test_words_without_quotes_stay_as_they_are(text: str) -> None:
    assert parse_value(text) == text


@given(st.text(st.characters(blacklist_categories=("Cs",))))
def test_every_text_survives_yaml(text: str) -> None:
    assert yaml.safe_load(format_value(text)) == text


def test_a_folder_with_everything_in_it_is_read_to_its_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a_pipe.jpg")
    (tmp_path / "b_folder.jpg").mkdir()
    (tmp_path / "c_circle.jpg").symlink_to(tmp_path / "c_circle.jpg")
    (tmp_path / "d_nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    cv2.imwrite(str(tmp_path / "e_image.png"), np.zeros((4, 6, 3), np.uint8))
    media = open_media(str(tmp_path))
    for name in ("a_pipe", "b_folder", "c_circle", "d_nowhere"):
        with pytest.raises(SourceError, match=name):
            media.read()
    image = media.read()
    assert image is not None and image.shape == (4, 6, 3)
    assert media.read() is None


def test_missing_sources_are_rejected_in_a_sentence(tmp_path: Path) -> None:
    circle = tmp_path / "circle.jpg"
    circle.symlink_to(circle)
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    for source, reason in (
        (str(circle), "circle"),
        (str(pipe), "neither a file nor a folder"),
        (str(tmp_path / "gone.jpg"), "no such file or folder"),
        ("~nobody_of_this_name/a.jpg", "home"),
    ):
        with pytest.raises(SourceError, match=reason):
            open_media(source)


def test_an_unknown_user_in_a_model_path_is_refused() -> None:
    for asked in (
        lambda: parse_search_path("/models:~nobody_of_this_name/models"),
        lambda: find_model("~nobody_of_this_name/mine"),
    ):
        with pytest.raises(ModelError, match="~nobody_of_this_name"):
            asked()


def test_a_model_path_of_more_folders_than_anybody_has_is_refused() -> None:
    assert len(parse_search_path(":".join(["/models"] * 64) + "::")) == 64
    with pytest.raises(ModelError, match="at most 64 folders, got 50000: '/m:/m") as caught:
        parse_search_path("/m:" * 50_000)
    assert len(str(caught.value)) < 400


def test_weights_that_are_a_pipe_are_refused_without_waiting(tmp_path: Path) -> None:
    shipped = find_model("nanodet")
    os.mkfifo(tmp_path / "nanodet.onnx")
    for name in ("model.yaml", "labels.txt", "golden"):
        (tmp_path / name).symlink_to(shipped.folder / name)
    with pytest.raises(ModelError, match=r"nanodet\.onnx: .*expected a file"):
        find_model(str(tmp_path)).verify_files()


def test_a_name_longer_than_any_file_is_no_file() -> None:
    assert source_kind("/" + "a" * 300) is SourceKind.TOPIC


@pytest.mark.parametrize("name", ["/a__b", "/a/b__c", "/__a"])
def test_ros_refuses_two_underscores_so_they_are_no_topic(name: str) -> None:
    assert not is_topic_name(name)


@pytest.mark.parametrize("option", ["--source", "--save-overlay"])
@pytest.mark.parametrize(("value", "reason"), [("", "empty"), ("bad\udcff.jpg", "UTF-8")])
def test_names_that_cannot_be_meant_are_wrong_usage(
    option: str, value: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "perception", "--source=sample", f"{option}={value}"]
    assert command_line.run(arguments) == 2
    output = capsys.readouterr().err
    assert option in output and reason in output


def test_json_lines_fit_any_encoding() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    empty = np.zeros(0, np.float32)
    result = Detections(empty.reshape(0, 4), empty, empty.astype(np.int32), (), 1, 1)
    RunJsonLines(stream).frame(FrameRecord(1, "bad\udcff ü.jpg", 0, result, {}, None))
    stream.seek(0)
    assert json.loads(stream.read())["source"] == "bad\udcff ü.jpg"

"""The operating points in model.yaml: read, refused, and written by the trade-off."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from edge_inference.core.measured_costs import Spread
from edge_inference.core.models.declared_points import DeclaredPoint
from edge_inference.core.models.model import load_model
from edge_inference.core.settings import rules
from edge_inference.engines.precision.int8_mode import INT8_MODES
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.tradeoff.tradeoff_point import (
    AGREEMENT,
    TOP1,
    Tradeoff,
    TradeoffPoint,
)
from edge_inference.optimize.tradeoff.write_points import servable_front, write_operating_points
from edge_inference.optimize.yaml_edit import set_list
from small_model import write_model


def point(precision: str, correct: int, ms: float, model: str = "mine", **more: object):
    values = {"width": 16, "height": 16, "accuracy": MeasuredAccuracy(correct, 100), **more}
    return TradeoffPoint(model, "ort", precision, latency=Spread(ms / 1e3, ms / 1e3), **values)


def test_the_modes_are_those_of_the_engines() -> None:
    assert rules(DeclaredPoint)["int8_mode"].choices == INT8_MODES


def test_points_are_read_in_their_order(tmp_path: Path) -> None:
    more = "operating_points:\n  - {precision: int8, int8_mode: fast}\n  - precision: fp16\n"
    more += "    model: other\n"
    assert load_model(write_model(tmp_path / "mine", more)).operating_points == (
        DeclaredPoint("int8", "fast"),
        DeclaredPoint("fp16", model="other"),
    )
    assert load_model(write_model(tmp_path / "none")).operating_points == ()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("{precision: fp32}", "expected a list of mappings"),
        ("[{precision: int4}]", "precision: expected one of fp32"),
        ("[{precision: int8, model: ../a}]", "not a path"),
        ("[{precision: int8, model: ~root}]", "not a path"),
        ("[{precision: fp16, int8_mode: fast}]", "applies to int8 only"),
        ("[{precision: int8, time_ms: 3}]", "time_ms: unknown key"),
        ("[{precision: int8, int8_mode: fast}, {precision: int8}]", "int8 is listed twice"),
        (f"[{', '.join(65 * ['{precision: int8}'])}]", "at most 64 points, got 65"),
    ],
)
def test_wrong_points_are_refused_with_their_line(
    tmp_path: Path, entries: str, message: str
) -> None:
    folder = write_model(tmp_path / "mine", f"operating_points: {entries}\n")
    with pytest.raises(ConfigError, match=f"model.yaml, line [0-9]+.*{message}"):
        load_model(folder)


def test_points_are_written_and_everything_else_stays(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine", "# the end\n")
    before = (folder / "model.yaml").read_text()
    points = [
        point("int8", 90, 1.5, int8_mode="exact"),
        point("int8", 89, 1.0, int8_mode="fast"),
        point("fp32", 95, 3.0),
        point("fp16", 95, 3.0, problem="an overflow"),
        point("fp16", 95, 4.0, batch=4),
        point("fp16", 95, 4.0, width=8),
        point("fp32", 92, 2.0, model="other", width=8),
    ]
    written = write_operating_points(folder, points)
    assert written == ("fp32", "fp32 other", "int8 fast")
    expected = (
        DeclaredPoint("fp32"), DeclaredPoint("fp32", model="other"), DeclaredPoint("int8", "fast"),
    )  # fmt: skip
    assert load_model(folder).operating_points == expected
    assert (folder / "model.yaml").read_text().startswith(before)
    write_operating_points(folder, points[2:3])
    assert load_model(folder).operating_points == expected[:1]
    assert sorted(file.name for file in folder.iterdir()) == [
        "golden.png",
        "model.yaml",
        "small.onnx",
    ]
    with pytest.raises(ConfigError, match="no point to write"):
        write_operating_points(folder, points[3:6])


def test_the_front_of_a_model_is_what_its_node_serves(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "mine"))
    points = (
        point("fp32", 95, 3.0),
        point("fp16", 95, 2.9),  # ONNX Runtime computes it in fp32
        point("int8", 94, 1.0),
        point("int8", 94, 0.9, batch=4),
        point("fp32", 96, 0.5, model="other"),
    )
    agreeing = Tradeoff(points, AGREEMENT, {}, 10, 1, {}, 1.0)
    assert servable_front(agreeing, model) == (points[2], points[0])
    labeled = dataclasses.replace(agreeing, accuracy_kind=TOP1)
    assert servable_front(labeled, model) == (points[4],)


@pytest.mark.parametrize("layout", ["in one line", "with an end"])
def test_a_file_that_cannot_be_edited_stays(tmp_path: Path, layout: str) -> None:
    folder = write_model(tmp_path / "mine")
    file = folder / "model.yaml"
    text = file.read_text()
    text = f"{text}...\n" if layout == "with an end" else json.dumps(yaml.safe_load(text))
    file.write_text(text)
    with pytest.raises(ModelError, match=r"cannot be edited here.*'precision': 'fp32'"):
        write_operating_points(folder, [point("fp32", 95, 3.0)])
    assert file.read_text() == text
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1\n", "a: 1\n\nb:\n  - {c: int8}\n"),
        ("a: 1\r\n", "a: 1\r\n\r\nb:\r\n  - {c: int8}\r\n"),
        ("b: []  # none\na: 1\n", "b:\n  - {c: int8}  # none\na: 1\n"),
        ("b:\n  - c: x\n    d: y\n# next\na: 1\n", "b:\n  - {c: int8}\n# next\na: 1\n"),
        ("b:\n  - {c: x}\n\n  - {c: y}\n", "b:\n  - {c: int8}\n"),
    ],
)
def test_a_list_is_set(before: str, after: str) -> None:
    assert set_list(before, "b", [{"c": "int8"}]) == after

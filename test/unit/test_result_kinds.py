"""The kinds of results: which rows are refused, and what follows from what a kind lacks."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.run_options import RunOptions
from edge_inference.core.extension_table import ExtensionTable
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.agreement import compare_results
from edge_inference.core.models.golden import Golden, read_golden
from edge_inference.core.models.golden_check import make_ramp_image, run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.self_check import run_self_check
from edge_inference.core.results import (
    CLASSIFICATION,
    DEPTH,
    DETECTION,
    RESULT_KINDS,
    SEGMENTATION,
    Classification,
    DepthMap,
    Detections,
    ExpectedArea,
    GoldenForm,
    ResultKind,
    Segmentation,
    Tolerance,
    kind_of,
)
from edge_inference.core.results.kinds import check_kind
from edge_inference.core.results.overlay import draw
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError, InputError, TensorError

NOTHING = np.zeros(0, np.float32)
NO_IDS = np.zeros(0, np.int32)
#: A result of each kind without anything in it, and one of the smallest size.
EMPTY = {
    "detection": Detections(NOTHING.reshape(0, 4), NOTHING, NO_IDS, (), None, None),
    "classification": Classification(NO_IDS, NOTHING, ()),
    "segmentation": Segmentation(np.full((1, 1), 255, np.uint8), (), 0.0),
    "depth": DepthMap(np.full((1, 1), np.nan, np.float32), "m"),
}


@dataclass(frozen=True)
class Angle:
    """The smallest result: one number."""

    radians: float = 0.0
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""


@dataclass
class Unfrozen:
    model: str = ""
    stamp_ns: int = 0
    frame_id: str = ""


@dataclass(frozen=True)
class Unstamped:
    model: str = ""
    frame_id: str = ""


@dataclass(frozen=True)
class Demanding:
    model: str
    stamp_ns: int = 0
    frame_id: str = ""


@dataclass(frozen=True)
class Made:
    model: str = field(default_factory=str)
    stamp_ns: int = 0
    frame_id: str = ""


#: A kind that has nothing of what a kind may lack.
ANGLE: ResultKind[Any] = ResultKind(
    name="angle",
    result_type=Angle,
    topic="angle",
    adapters=("my_robot.angle:AngleAdapter",),
    to_json=lambda result: [{"radians": result.radians}],
    to_lines=lambda result, limit: [f"{result.radians:.2f} rad"][:limit],
    scores_by_label=None,
    top_score=None,
    warning=None,
    draw=None,
    golden=None,
    agree=None,
)
LABELS = ("north",)


@pytest.fixture
def angle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the kind to the table."""
    rows = [*RESULT_KINDS.own.values(), ANGLE]
    table = ExtensionTable("result_kinds", "result kind", ResultKind, rows, check_kind)
    for name in ("get", "rows"):
        monkeypatch.setattr(RESULT_KINDS, name, getattr(table, name))


def model_of(kind: str, *golden: Golden) -> ModelDescription:
    return ModelDescription(
        name="made-up",
        folder=Path("made-up"),
        task=kind,
        description="",
        license="",
        source="",
        input=InputSpec("image", 8, 8, std=(255.0,)),
        decoder="classification",
        decoder_settings=Tolerance(),
        labels=LABELS,
        variants={},
        golden=golden,
    )


def test_every_own_kind_has_an_empty_result_here() -> None:
    assert EMPTY.keys() == RESULT_KINDS.own.keys()


# Rows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMPTY)
def test_own_rows_are_as_those_of_others_must_be(name: str) -> None:
    others = {other: kind for other, kind in RESULT_KINDS.own.items() if other != name}
    assert check_kind(RESULT_KINDS.own[name], others) is None


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_result_has_every_form(name: str) -> None:
    result = EMPTY[name]
    kind = kind_of(result)
    assert kind.name == name
    json.dumps(kind.to_json(result), allow_nan=False)
    assert kind.to_lines(result, 0) == []
    assert len(kind.to_lines(result, 5)) <= 1
    assert kind.scores_by_label is None or kind.scores_by_label(result) == []
    assert kind.top_score is None or not kind.top_score(result) > 0
    assert kind.warning is None or kind.warning(result) == ""
    assert draw(np.zeros((1, 1, 3), np.uint8), result).shape == (1, 1, 3)
    assert compare_results(result, result).share == 1.0


def test_only_results_in_meters_raise_no_warning() -> None:
    assert DEPTH.warning is not None
    assert "expect metres" in DEPTH.warning(DepthMap(np.zeros((1, 1), np.float32), "relative"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"result_type": Unfrozen}, "expected a frozen dataclass"),
        ({"result_type": dict}, "expected a frozen dataclass, got <class 'dict'>"),
        ({"result_type": Angle()}, "expected a frozen dataclass"),
        ({"result_type": Unstamped}, "expected a field stamp_ns with a default in Unstamped"),
        ({"result_type": Demanding}, "expected a field model with a default in Demanding"),
        ({"result_type": Detections}, "Detections is that of the kind detection"),
        ({"topic": "depth"}, "topic: depth is that of the kind depth"),
        ({"topic": "/ai/angle"}, "topic: expected a relative name"),
        ({"topic": "two words"}, "topic: expected a relative name"),
        ({"topic": ""}, "topic: expected a relative name"),
        ({"topic": None}, "topic: expected a relative name"),
        ({"adapters": ()}, "adapters: expected at least one module:Class"),
        ({"adapters": "my_robot.angle:AngleAdapter"}, "adapters: expected at least one"),
        ({"adapters": ("my_robot.angle",)}, "adapters: expected module:Class"),
        ({"adapters": (Angle,)}, "adapters: expected module:Class"),
        ({"to_json": None}, "to_json: expected a function, got None"),
        ({"to_lines": "angle"}, "to_lines: expected a function, got 'angle'"),
        ({"draw": "angle"}, "draw: expected a function, got 'angle'"),
        ({"agree": False}, "agree: expected a function, got False"),
        ({"golden": "angles"}, "golden: expected a GoldenForm with a function"),
        ({"golden": GoldenForm("a", ExpectedArea, None)}, "golden: expected a GoldenForm with"),
        ({"golden": GoldenForm("a", Angle, print)}, "golden: a settings class cannot be used"),
        ({"golden": GoldenForm("image", ExpectedArea, print)}, "a key besides extra, image, iou"),
        ({"golden": GoldenForm("iou", ExpectedArea, print)}, "a key besides extra, image, iou"),
        ({"golden": GoldenForm("", ExpectedArea, print)}, "a key besides extra, image, iou"),
    ],
)
def test_a_row_that_cannot_be_used(changes: dict[str, Any], reason: str) -> None:
    kind = dataclasses.replace(ANGLE, **changes)
    assert reason in (check_kind(kind, RESULT_KINDS.own) or "")


@pytest.mark.parametrize("changes", [{}, {"topic": "head/angle_2"}, {"result_type": Made}])
def test_a_row_that_can_be_used(changes: dict[str, Any]) -> None:
    assert check_kind(dataclasses.replace(ANGLE, **changes), RESULT_KINDS.own) is None


# What a kind lacks --------------------------------------------------------------------------------


def test_a_kind_without_a_drawing_is_not_drawn(angle: None) -> None:
    with pytest.raises(InputError, match="a result of the kind angle has no drawing"):
        draw(np.zeros((8, 8, 3), np.uint8), Angle())


def test_its_overlays_cannot_be_saved(angle: None, tmp_path: Path) -> None:
    options = RunOptions(str(tmp_path), save_overlay="overlays")
    options.check(model_of("depth"))
    with pytest.raises(UsageError, match="--save-overlay: results of the kind angle have no draw"):
        options.check(model_of("angle"))


def test_a_kind_without_an_agreement_is_not_compared(angle: None) -> None:
    with pytest.raises(TensorError, match="results of the kind angle cannot be compared"):
        compare_results(Angle(), Angle())


def test_its_self_check_fails(angle: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelDescription, "decode", lambda *arguments: Angle())
    model = model_of("angle")
    output = {"out": np.ones(3, np.float32)}
    report = run_self_check(
        model, lambda inputs: output, lambda inputs: output, [make_ramp_image()]
    )
    assert not report.passed
    assert "results of the kind angle cannot be compared" in report.summary()


def test_a_kind_without_a_golden_form_has_no_golden_images(
    angle: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("image: a.png\nareas: []\n")
    with pytest.raises(ConfigError, match=r"images are for detection, .*, not angle"):
        read_golden(load_yaml(file), ANGLE, LABELS, tmp_path / "a.png")
    monkeypatch.setattr(ModelDescription, "decode", lambda *arguments: Angle())
    golden = Golden(Path(__file__).parents[2] / "models/nanodet/golden/astronaut.jpg", (), None)
    report = run_golden_check(model_of("angle", golden), lambda inputs: {})
    assert report.reasons == (
        "astronaut.jpg: golden images cannot have a result of the kind angle; remove the image",
    )


def test_a_task_without_a_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown result kind 'angle'"):
        model_of("angle").kind  # noqa: B018


@pytest.mark.parametrize("kind", [DETECTION, CLASSIFICATION, SEGMENTATION])
def test_only_a_detector_may_expect_nothing(kind: ResultKind[Any], tmp_path: Path) -> None:
    assert kind.golden is not None
    file = tmp_path / "model.yaml"
    file.write_text(f"image: a.png\n{kind.golden.key}: []\n")
    if kind is DETECTION:
        golden = read_golden(load_yaml(file), kind, LABELS, tmp_path / "a.png")
        assert golden == Golden(tmp_path / "a.png", (), Tolerance())
    else:
        with pytest.raises(ConfigError, match="there is nothing to check"):
            read_golden(load_yaml(file), kind, LABELS, tmp_path / "a.png")

"""The search names the layer that breaks a precision, and no other."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_inference.cli.main import main
from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.engines.precision.derive import derive
from edge_inference.engines.precision.folding import fold
from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.bisect import (
    BisectReport,
    BisectRequest,
    CancelledError,
    bisect,
)
from edge_inference.optimize.fp16_emulation import emulate_fp16
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.layer_groups import group_layers
from input_kinds import write_detector
from sensitive_model import SENSITIVE, load_overflowing, load_sensitive, make_images
from small_model import write_model

STRICT = SelfCheckThresholds(agreement=0.9, cosine=0.99, sqnr_db=20.0)


def some_images(count: int = 6) -> ImageSet:
    return ImageSet(make_images(count, first=50), f"{count} images of noise")


def make_request(model: ModelDescription, precision: str = "int8", **more: object) -> BisectRequest:
    return replace(BisectRequest(model, precision, some_images(), thresholds=STRICT), **more)


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "sensitive")


@pytest.fixture(scope="module", params=["onnxruntime", "tensorrt"])
def int8(request: pytest.FixtureRequest, sensitive: ModelDescription) -> BisectReport:
    return bisect(make_request(sensitive, target=request.param))


def test_one_layer_that_cannot_be_quantized_is_named(int8: BisectReport) -> None:
    assert not int8.before.passed
    assert int8.minimal_set.members == (SENSITIVE,)
    assert int8.minimal_set.is_minimal
    assert int8.after is not None
    assert int8.after.passed
    assert int8.sensitivity.noise_sources[0].layers == (SENSITIVE,)
    assert str(int8.sensitivity.noise_sources[0]) == "the arithmetic of sensitive"


def test_what_it_finds_makes_the_model_pass(int8: BisectReport, tmp_path: Path) -> None:
    assert "int8_keep_fp32:\n    - sensitive" in int8.yaml()
    keep = int8.yaml().removeprefix("derive:\n")
    fixed = load_sensitive(tmp_path / "fixed", more=keep)
    report = bisect(make_request(fixed, target=int8.request.target))
    assert report.already_fp32 == int8.keep_fp32
    assert report.before.passed
    assert report.minimal_set.members == ()


def test_a_good_model_needs_no_layer_in_fp32(tmp_path: Path) -> None:
    report = bisect(make_request(load_sensitive(tmp_path / "sound", is_sensitive=False)))
    assert report.before.passed, report.before.summary()
    assert (report.minimal_set.members, report.after, report.tries) == ((), None, 0)
    assert report.convertible == 4  # the nodes after the last layer with weights stay in fp32


def test_an_overflow_in_fp16_is_found_at_the_tensor_that_overflows(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "overflow", scale=4e5))
    report = bisect(make_request(model, "fp16"))
    assert not report.before.passed
    worst = report.sensitivity.noise_sources[0]
    assert worst.noise == math.inf
    assert str(worst) == "NaN or overflow in b (at first, second)"
    assert set(report.minimal_set.members or ()) == {"first", "second"}
    assert set(report.keep_fp32) == {"first", "relu", "second"}
    assert report.after is not None
    assert report.after.passed


def test_an_overflow_behind_an_overflow_is_found_too(tmp_path: Path) -> None:
    report = bisect(make_request(load_overflowing(tmp_path / "twice"), "fp16"))
    assert not report.before.passed
    found = {one.tensor for one in report.sensitivity.noise_sources if one.noise == math.inf}
    assert found == {"after_up1", "after_up2"}
    assert set(report.minimal_set.members or ()) == {"up1", "down1", "up2", "down2"}
    assert report.minimal_set.is_minimal


def test_no_set_passes_if_only_fp32_would(sensitive: ModelDescription) -> None:
    exact = SelfCheckThresholds(sqnr_db=150.0)
    report = bisect(make_request(sensitive, thresholds=exact))
    assert report.minimal_set.members is None
    assert report.after is None


def more_than_one_layer(sensitive: ModelDescription) -> SelfCheckThresholds:
    """Return thresholds that the sensitive layer alone in fp32 does not reach."""
    after = bisect(make_request(sensitive)).after
    assert after is not None
    return SelfCheckThresholds(sqnr_db=after.figures()["sqnr_db"] + 1)


def test_the_tries_are_limited(sensitive: ModelDescription) -> None:
    report = bisect(make_request(sensitive, thresholds=more_than_one_layer(sensitive), max_tries=4))
    assert report.tries <= 4
    assert not report.minimal_set.is_minimal


def test_cancelled_before_the_sensitivity_is_measured(sensitive: ModelDescription) -> None:
    with pytest.raises(CancelledError, match="cancelled"):
        bisect(make_request(sensitive), cancelled=lambda: True)


@pytest.mark.parametrize("stage", ["single layers", "minimal set"])
def test_a_search_cancelled_later_reports_what_it_has(
    sensitive: ModelDescription, stage: str
) -> None:
    phases: list[str] = []

    def cancelled() -> bool:
        return any(phase.startswith(stage) for phase in phases)

    strict = make_request(sensitive, thresholds=more_than_one_layer(sensitive))
    report = bisect(strict, lambda phase, fraction: phases.append(phase), cancelled)
    assert not report.is_complete
    assert not report.minimal_set.is_minimal
    assert report.sensitivity.noise_sources[0].layers == (SENSITIVE,)


def test_int8_without_calibration_says_how_to_get_one(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "plain"))
    command = re.escape(f"edge-inference quantize {tmp_path / 'plain'} --calibration")
    with pytest.raises(ModelError, match=command):
        bisect(make_request(model))


def test_a_check_without_evidence_needs_other_images(tmp_path: Path) -> None:
    model = load_model(write_detector(tmp_path / "blind", threshold=0.98))
    with pytest.raises(ModelError, match=r"blind: self-check: not checked: .* with --images"):
        bisect(make_request(model, "fp16", images=some_images(1)))


def test_a_model_without_fp32_is_refused(sensitive: ModelDescription) -> None:
    bare = replace(sensitive, variants={"fp16": sensitive.variants["fp32"]})
    with pytest.raises(ModelError, match="no fp32 variant"):
        bisect(make_request(bare))


@pytest.mark.parametrize(("precision", "target"), [("int4", "onnxruntime"), ("int8", "tpu")])
def test_an_unknown_precision_or_target_is_refused(
    sensitive: ModelDescription, precision: str, target: str
) -> None:
    with pytest.raises(ConfigError, match="expected one of"):
        bisect(make_request(sensitive, precision, target=target))


def test_an_input_that_does_not_fit_the_graph_is_refused(sensitive: ModelDescription) -> None:
    wrong = replace(sensitive, input=replace(sensitive.input, width=8))
    with pytest.raises(ModelError, match=r"set input\.width to 16"):
        bisect(make_request(wrong))


def test_fp16_emulation_rounds_and_overflows_as_fp16_does(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "fp16_emulation", scale=4e5))
    derived = tmp_path / "derived.onnx"
    derive(model.variants["fp32"].file, "fp16", "onnxruntime", derived)
    made = emulate_fp16(derived)
    onnx.checker.check_model(made, full_check=True)
    names = [node.name for node in made.graph.node]
    assert {"first", "relu", "second"} <= set(names)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    bright = np.ones((1, 3, 16, 16), np.float32)
    (logits,) = session.run(None, {"image": bright})
    assert not np.isfinite(logits).all()
    (logits,) = session.run(None, {"image": bright * 0.01})
    assert np.isfinite(logits).all()


def test_an_activation_belongs_to_the_layer_before_it(sensitive: ModelDescription) -> None:
    groups = group_layers(fold(sensitive.variants["fp32"].file))
    assert [group.nodes for group in groups] == [
        ("first", "first_relu"),
        ("before", "before_relu"),
        ("sensitive", "sensitive_relu"),
        ("last",),
        ("pool",),
        ("flatten",),
    ]


def test_the_command_prints_lines_for_the_model(
    sensitive: ModelDescription, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["bisect", str(sensitive.folder), "--precision", "int8", "--sqnr", "20"]
    assert main("edge-inference", options) == 0
    printed = capsys.readouterr().out
    assert "derive:\n  int8_keep_fp32:\n    - sensitive\n    - sensitive_relu\n" in printed
    assert "passes with 1 of 4 layers in fp32" in printed


def test_the_command_as_json(
    sensitive: ModelDescription, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["bisect", str(sensitive.folder), "--precision", "int8", "--sqnr", "20", "--json"]
    assert main("edge-inference", options) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["layer"] for line in lines[:-1]][2] == SENSITIVE
    summary = lines[-1]["summary"]
    assert summary["layers"] == [SENSITIVE]
    assert summary["after"]["sqnr_db"] >= 20 > summary["before"]["sqnr_db"]


def test_nothing_found_is_exit_code_1(
    sensitive: ModelDescription, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "bisect",
        str(sensitive.folder),
        "--precision",
        "int8",
        "--sqnr",
        "150",
        "--tries",
        "6",
    ]
    assert main("edge-inference", options) == 1
    assert "no set of layers was found" in capsys.readouterr().out

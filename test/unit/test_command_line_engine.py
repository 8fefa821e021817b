"""``edge-inference engine``: its errors, and its output on plans."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from edge_inference.backends.trt.metadata import (
    EngineMetadata,
    Environment,
    sidecar_of,
    write_sidecar,
)
from edge_inference.cli.command_line import make_parser, run
from edge_inference.cli.models import check_engine, engine_build, engine_plans
from edge_inference.cli.models.build_flags import given_build_options
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.errors import BackendError, CancelledError

BUILD = ["engine", "build"]
HERE = Environment("tensorrt", "10.3.0", "Linux", "aarch64", "Orin", "8.7")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Return a plan that cannot be loaded, with a correct sidecar."""
    file = tmp_path / "my.plan"
    content = b"plan" * 1000
    file.write_bytes(content)
    metadata = EngineMetadata(
        environment=HERE,
        precision="int8",
        model="nanodet",
        onnx_sha256="ab" * 32,
        plan_sha256=hashlib.sha256(content).hexdigest(),
        plan_bytes=len(content),
        profiles={"x": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))},
        inputs={"x": ("float32", -1, 3, 8, 8)},
        outputs={"y": ("float32", -1, 10)},
        options={"precision": "int8", "optimization_level": 5, "keep_fp32": []},
        layer_precisions={"int8": 60, "fp32": 4},
        layer_source="inspector",
        build_seconds=12.34,
    )
    write_sidecar(file, metadata)
    return file


@pytest.fixture
def on_orin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that fakes the machine of the plan, with changes."""

    def set_machine(**but: Any) -> None:
        here = replace(HERE, **but)
        monkeypatch.setattr(check_engine, "environment_here", lambda gpu: here)

    return set_machine


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the line on stderr."""
    errors = capsys.readouterr().err
    assert errors.startswith("edge-inference: ")
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["engine"], 2, "action"),
        (["engine", "biuld"], 2, "'biuld'"),
        (BUILD, 2, "either MODEL or --onnx"),
        ([*BUILD, "nanodet", "--onnx", "x.onnx"], 2, "either MODEL or --onnx"),
        ([*BUILD, "--onnx", "x.onnx"], 2, "--output"),
        ([*BUILD, "--onnx", ""], 2, "empty"),
        ([*BUILD, "nanodet", "--timing-cache", "t"], 2, "--timing-cache"),
        ([*BUILD, "nanodet", "--precision", "fp8"], 2, "'fp8'"),
        ([*BUILD, "nanodet", "--batch", "4:2"], 2, "'4:2'"),
        ([*BUILD, "nanodet", "--batch", "x"], 2, "1:4:8"),
        ([*BUILD, "nanodet", "--profile", "x"], 2, "NAME:MIN,OPT,MAX"),
        ([*BUILD, "nanodet", "--target", "ten"], 2, "'ten'"),
        ([*BUILD, "nanodet", "--optimization-level", "9"], 2, "from 0 to 5"),
        ([*BUILD, "nanodet", "--workspace", "-1"], 2, "workspace"),
        ([*BUILD, "nanodet", "--device", "tpu"], 2, "'tpu'"),
        ([*BUILD, "nanodet", "--output", "."], 2, "folder"),
        ([*BUILD, "nanodte"], 1, "did you mean 'nanodet'"),
        (["engine", "inspect"], 2, "PLAN|MODEL"),
        (["engine", "inspect", "no.plan"], 1, "no such plan"),
        (["engine", "check", "no.plan"], 1, "no such plan"),
        (["engine", "check", "nanodet", "--backend", "zap"], 1, "'zap'"),
        (["engine", "check", "nanodet", "--gpu", "-1"], 2, "--gpu"),
        (["engine", "clean", "--all", "--damaged"], 2, "--damaged"),
        (["engine", "clean", "--limit", "3XB"], 2, "2GiB"),
    ],
)
def test_a_refusal_is_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    assert words in refused(capsys)


@pytest.mark.parametrize("action", ["", "build", "inspect", "check", "list", "clean"])
def test_help_has_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["engine", *filter(None, [action])]
    assert run([*words, "--help"]) == 0
    assert "edge-inference " + " ".join(words) in capsys.readouterr().out.partition("example")[2]


def test_every_build_option_has_a_flag() -> None:
    given = [
        *("--typing", "flags", "--keep-fp32", "a", "--keep-fp32", "b", "--profile", "x:1x3"),
        *("--batch", "1:4:8", "--workspace", "64", "--optimization-level", "1", "--no-tf32"),
        *("--sparse-weights", "--device", "dla0", "--hardware", "ampere_plus", "--target", "8.6"),
        *("--version-compatible", "--exclude-lean-runtime"),
    ]
    arguments = [*BUILD, "nanodet", *given]
    found = given_build_options(make_parser(arguments).parse_args(arguments))
    assert set(found) == {field.name for field in fields(BuildOptions)} - {"precision"}
    assert found["keep_fp32"] == ["a", "b"]
    assert found["batch"] == (1, 4, 8)
    assert found["tf32"] is False


def test_options_not_given_come_from_the_model() -> None:
    arguments = [*BUILD, "nanodet"]
    assert given_build_options(make_parser(arguments).parse_args(arguments)) == {}


# Building ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["nanodet"], ["nanodet", "--output", "x.plan"]])
def test_the_error_without_tensorrt_is_one_sentence(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent() -> Any:
        raise BackendError("TensorRT cannot be imported (tensorrt: No module named 'tensorrt')")

    monkeypatch.setattr("edge_inference.engines.build.model_options.import_tensorrt", absent)
    assert run([*BUILD, *arguments]) == 1
    assert "TensorRT cannot be imported" in refused(capsys)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_a_build_and_leaves_nothing(
    number: signal.Signals,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def slow_build(*_: Any, cancelled: Callable[[], bool], **__: Any) -> Any:
        os.kill(os.getpid(), number)
        while not cancelled():
            pass
        raise CancelledError("the build was cancelled")

    monkeypatch.setattr(engine_build, "build_engine", slow_build)
    monkeypatch.setattr(engine_build, "import_tensorrt", lambda: None)
    monkeypatch.setattr(engine_build, "environment_here", lambda gpu: HERE)
    assert run([*BUILD, "--onnx", "x.onnx", "--output", str(tmp_path / "x.plan")]) == 128 + number
    assert capsys.readouterr().err == "edge-inference: interrupted\n"
    assert list(tmp_path.iterdir()) == []


# Inspecting and checking ------------------------------------------------------------------------


def test_a_plan_is_described_as_text(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "inspect", str(plan)]) == 0
    text = capsys.readouterr().out
    for words in (
        "model: nanodet, precision int8",
        "TensorRT 10.3.0 on Linux aarch64 in 12.3 s",
        "Orin (compute capability 8.7)",
        "x float32 ?x3x8x8",
        "1x3x8x8 to 4x3x8x8, best at 2x3x8x8",
        "60 int8, 4 fp32 (as TensorRT built them)",
        "options: optimization_level 5\n",
    ):
        assert words in text


def test_a_plan_is_described_as_json(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "inspect", str(plan), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["plan"] == str(plan)
    assert content["environment"]["version"] == "10.3.0"
    assert content["layer_precisions"] == {"int8": 60, "fp32": 4}


def test_layers_that_cannot_be_read_here_have_a_reason(
    plan: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_gpu(gpu: int) -> Any:
        raise BackendError("no NVIDIA driver")

    monkeypatch.setattr("edge_inference.cli.models.engine_inspect.environment_here", no_gpu)
    assert run(["engine", "inspect", str(plan), "--layers"]) == 0
    assert "here: no NVIDIA driver" in capsys.readouterr().out
    assert run(["engine", "inspect", str(plan), "--layers", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["layers"], content["layers_missing"]) == (None, "no NVIDIA driver")


def _cut(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:100])


def _exchange(plan: Path) -> None:
    plan.write_bytes(b"exec" + plan.read_bytes()[4:])


def _lose_sidecar(plan: Path) -> None:
    sidecar_of(plan).unlink()


def _alter_sidecar(plan: Path) -> None:
    sidecar = sidecar_of(plan)
    sidecar.write_text(sidecar.read_text().replace('"int8"', '"fp32"'))


@pytest.mark.parametrize("action", ["inspect", "check"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "expected 4000 bytes, as its sidecar says, got 100"),
        (_exchange, "expected the plan of its sidecar"),
        (_lose_sidecar, "sidecar cannot be read"),
        (_alter_sidecar, "altered after it was written"),
    ],
)
def test_a_damaged_plan_is_refused(
    action: str,
    damage: Callable[[Path], None],
    words: str,
    plan: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(plan)
    assert run(["engine", action, str(plan)]) == 1
    sentence = refused(capsys)
    assert words in sentence
    assert "engine build" in sentence


@pytest.mark.parametrize(
    ("but", "words"),
    [
        ({"version": "10.13.3"}, "built by tensorrt 10.3.0, this machine has 10.13.3"),
        ({"library": "tensorrt_rtx"}, "this machine has tensorrt_rtx"),
        ({"machine": "x86_64"}, "this machine is Linux on x86_64"),
        ({"device": "A100", "compute_capability": "8.0"}, "this GPU is A100"),
    ],
)
def test_a_plan_of_another_machine_is_refused(
    but: Mapping[str, str],
    words: str,
    plan: Path,
    on_orin: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_orin(**but)
    assert run(["engine", "check", str(plan)]) == 1
    assert words in refused(capsys)


def test_a_plan_that_fits_passes_without_a_gpu(
    plan: Path, on_orin: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    on_orin(device=None, compute_capability=None)
    assert run(["engine", "check", str(plan)]) == 0
    text = capsys.readouterr().out
    assert "files: verified" in text
    assert "the GPU is unknown" in text


def test_a_plan_has_its_own_precision(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "check", str(plan), "--precision", "fp16"]) == 2
    assert "name a model" in refused(capsys)


def test_the_error_for_a_missing_engine_has_a_hint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Nothing:
        def find(self, cache: ArtifactCache) -> None:
            return None

    monkeypatch.setattr(engine_plans, "engine_plan", lambda *_: Nothing())
    for action in ("check", "inspect"):
        assert run(["engine", action, "nanodet", "--precision", "fp32"]) == 1
        assert "engine build nanodet --precision fp32" in refused(capsys)

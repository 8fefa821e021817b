"""``edge-inference`` on a machine with TensorRT and a GPU: build, inspect, check, and run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_inference.backends.trt.metadata import read_sidecar, verify_plan
from edge_inference.core.checksum import sha256_of
from edge_inference.engines.cache.cost_cache import CostCache
from input_kinds import write_classifier

ROOT = Path(__file__).resolve().parents[3]
AS_TENSORRT = [ROOT / "test" / "cuda_double" / "as_tensorrt", ROOT / "test" / "unit"]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
TIME_WITH_RIVAL = """
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.serving.preparation import check_in_child
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import prepare
from edge_inference.engines.cache.artifacts import default_cache

model, cache = find_model("efficientnet_lite0"), default_cache()
request, baseline = (EngineRequest(model, "trt", precision) for precision in ("fp16", "fp32"))
for each in (request, baseline):
    prepare(each, cache)
print(check_in_child(request, cache, "off", "off", lambda: False, baseline).warnings)
"""
DEADLINE_S = 300
# The faster one on a CPU.
MODEL = "efficientnet_lite0"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def command(
    cache: Path, *arguments: str, program: str = PROGRAM
) -> subprocess.CompletedProcess[str]:
    """Run in a process in which the double is named tensorrt."""
    paths = [*map(str, AS_TENSORRT), os.environ["PYTHONPATH"]]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "EDGE_INFERENCE_CACHE": str(cache),
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def plan(cache: Path) -> Path:
    done = command(cache, "engine", "build", MODEL, "--precision", "fp32", "--json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout.splitlines()[-1])["summary"]["plan"])


def test_an_engine_is_built_for_this_gpu(plan: Path) -> None:
    metadata = read_sidecar(plan)
    verify_plan(plan, metadata)
    assert metadata.environment.compute_capability == "8.7"
    assert metadata.layer_source == "inspector"


def test_layers_come_from_the_inspector(cache: Path, plan: Path) -> None:
    done = command(cache, "engine", "inspect", str(plan), "--layers", "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["layers_from"] == "inspector"
    assert {layer["precision"] for layer in content["layers"]} == {"fp32"}


@pytest.mark.parametrize("by_path", [False, True])
def test_engine_check_runs_both_checks(cache: Path, plan: Path, by_path: bool) -> None:
    words = [str(plan)] if by_path else [MODEL, "--precision", "fp32"]
    done = command(cache, "engine", "check", *words)
    assert done.returncode == 0, done.stderr
    for expected in ("compute capability 8.7", "golden check: passed", "self-check: passed"):
        assert expected in done.stdout


def test_a_plan_without_a_model_is_loaded(cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "lone.plan"
    onnx_file = ROOT / "models" / "efficientnet_lite0" / "efficientnet_lite0.onnx"
    sizes = ("--profile", "image:1x3x224x224")
    arguments = ("--onnx", str(onnx_file), "--output", str(other), *sizes)
    done = command(cache, "engine", "build", *arguments)
    assert done.returncode == 0, done.stderr
    done = command(cache, "engine", "check", str(other))
    assert done.returncode == 0, done.stderr
    assert "left out; the model was not found" in done.stdout


def test_a_model_is_prepared_and_checked(cache: Path) -> None:
    done = command(cache, "models", "check", MODEL, "--backend", "trt", "--precision", "fp16")
    assert "preparing: " in done.stdout
    assert "golden check: passed" in done.stdout, done.stderr
    assert done.returncode == 0


def test_an_engine_is_timed_interleaved_with_its_baseline(cache: Path, plan: Path) -> None:
    done = command(cache, program=TIME_WITH_RIVAL)
    assert (done.returncode, done.stdout) == (0, "()\n"), done.stderr
    newest = CostCache(cache).read().measurements[-1]
    assert newest.by == "preparation"
    configurations = [cost.configuration for cost in newest.costs]
    assert [
        (configuration.backend, configuration.precision) for configuration in configurations
    ] == [
        ("trt", "fp16"),
        ("trt", "fp32"),
    ]
    assert {configuration.execution for configuration in configurations} == {"Double"}
    assert configurations[1].artifact == sha256_of(plan)
    assert [cost.cpu for cost in newest.costs] == [None, None]  # the GPU computes


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("unbatched", {"layout": "HWC", "dtype": "uint8"}),
        ("filled", {"batch": 4, "input": {"batch": 4}}),
        ("alpha", {"channels": 4, "input": {"color": "RGBA"}}),
        (
            "sized",
            {"extra": {"size": ("int64", ["n", 2])}, "extra_inputs": {"size": [[1, 2]]}},
        ),
    ],
)
def test_models_of_other_inputs_are_built_and_checked(
    cache: Path, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    folder = write_classifier(tmp_path / name, **options)
    words = ("models", "check", str(folder), "--backend", "trt", "--precision", "fp32")
    done = command(cache, *words)
    assert done.returncode == 0, done.stderr
    assert "self-check: passed on 1 image(s), agreement 100.0%" in done.stdout


def test_a_value_of_another_length_is_another_engine(cache: Path, tmp_path: Path) -> None:
    extra = {"size": ("int64", ["n", 2])}
    folder = write_classifier(tmp_path / "sized", extra=extra, extra_inputs={"size": [[1, 2]]})

    def build() -> dict[str, Any]:
        done = command(cache, "engine", "build", str(folder), "--precision", "fp32", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])["summary"]

    first = build()
    assert read_sidecar(Path(first["plan"])).profiles["size"] == ((1, 2),) * 3
    file = folder / "model.yaml"
    file.write_text(file.read_text().replace("- 2\n", "- 2\n  - - 3\n    - 4\n"))
    other = build()
    assert read_sidecar(Path(other["plan"])).profiles["size"] == ((2, 2),) * 3
    assert other["plan"] != first["plan"]
    assert build()["from_cache"]

"""A robot with a GPU, as far as doubles go: engines are built, exchanged, and fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.cache_folder import default_cache_folder
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for

MODEL = "efficientnet_lite0"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the engine in it, which takes longest to make."""
    folder = tmp_path_factory.mktemp("built")
    rig = Rig()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_INFERENCE_CACHE", str(folder))
        in_service(Pipeline(rig, model=MODEL), "trt")
        rig.close()
    return folder


@pytest.fixture
def has_engine(built: Path, cache: Path) -> None:
    """Begin with the engine in the cache."""
    shutil.copytree(built, cache)


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Say how the next builds go."""
    file = tmp_path / "order"
    file.write_text("")
    monkeypatch.setenv("EDGE_INFERENCE_DOUBLE_BUILDER", str(file))
    return lambda text: file.write_text(text) and None


@pytest.fixture
def double():
    import tensorrt

    tensorrt.double.reset()
    yield tensorrt.double
    tensorrt.double.reset()


def in_service(pipeline: Pipeline, backend: str) -> None:
    wait_for(
        lambda: bool(pipeline.states) and pipeline.states[-1].backend == backend,
        f"{backend} in service",
    )


def problem(pipeline: Pipeline) -> str:
    wait_for(
        lambda: bool(pipeline.states) and pipeline.states[-1].problem,
        "a problem in the state",
    )
    return pipeline.states[-1].problem


def unload(rig: Rig) -> None:
    for component in list(rig.container.components):
        rig.call(lambda number=component.id: rig.container.unload(number))


def plan_file() -> Path:
    (entry,) = (
        entry
        for entry in ArtifactCache(default_cache_folder()).entries()
        if "engine.plan" in entry.files
    )
    return entry.path("engine.plan")


def test_onnx_runtime_serves_until_the_engine_is_built(
    rig: Rig, outside: Outside, order, tmp_path: Path, double
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    order(f"gate {gate}")
    pipeline = Pipeline(rig, model=MODEL)
    in_service(pipeline, "ort")
    by_cpu = pipeline.next(pipeline.classes)
    wait_for(
        lambda: (
            "building" in pipeline.states[-1].preparing.lower()
            or (pipeline.states[-1].progress or 0) > 0
        ),
        "progress in the state",
    )
    received = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
    wait_for(lambda: any("preparing" in str(message) for message in received), "diagnostics")
    gate.write_text("go")
    in_service(pipeline, "trt")
    wait_for(lambda: pipeline.preprocess._is_deferring, "preprocess to leave images to the GPU")
    by_gpu = pipeline.next(pipeline.classes)
    assert by_gpu.label(0) == by_cpu.label(0)
    assert abs(by_gpu.scores[0] - by_cpu.scores[0]) < 0.02
    assert pipeline.states[-1].takes_images
    assert double.count("cuLaunchKernel") > 0
    assert pipeline.lost() == {}
    assert pipeline.states[-1].problem == ""


def test_the_next_start_finds_the_engine(rig: Rig, double, has_engine: None) -> None:
    again = Pipeline(rig, model=MODEL)
    timings = rig.tap("/ai/stage_timing")
    wait_for(lambda: bool(again.states), "a state")
    assert again.states[0].backend == "trt"
    assert len(again.next(again.classes)) > 0

    def on_device() -> list[tuple[float, float]]:
        found = [timing for timing in list(timings) if timing.stage == "inference"]
        return [(each.device_ms, each.process_ms) for each in found if each.device_ms is not None]

    wait_for(on_device, "the time of an inference on the GPU")
    assert all(0 < device_ms < process_ms for device_ms, process_ms in on_device())
    assert not any(timing.device_ms for timing in timings if timing.stage != "inference")
    unload(rig)
    assert double.misuse() == ""


def test_a_truncated_plan_is_built_again(rig: Rig, double, has_engine: None) -> None:
    plan = plan_file()
    content = plan.read_bytes()
    plan.write_bytes(content[: len(content) // 2])
    again = Pipeline(rig, model=MODEL)
    assert len(again.next(again.classes)) > 0
    in_service(again, "trt")
    assert plan_file().read_bytes() == content


def test_an_altered_plan_is_reported_and_built_again(rig: Rig, double, has_engine: None) -> None:
    plan = plan_file()
    content = plan.read_bytes()
    plan.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    again = Pipeline(rig, model=MODEL)
    assert len(again.next(again.classes)) > 0
    in_service(again, "trt")
    errors = again.inference.health.take_errors()
    assert any(reason == "engine" and "engine.plan" in sentence for reason, sentence in errors), (
        errors
    )
    assert plan_file().read_bytes() == content


@pytest.mark.parametrize(
    ("how", "words"),
    [("unsupported", "Frobnicate"), ("killed", "was killed by signal 9")],
)
def test_a_failed_build_is_reported_and_the_pipeline_serves(
    rig: Rig, order, double, how: str, words: str
) -> None:
    order(how)
    pipeline = Pipeline(rig, model=MODEL)
    assert words in problem(pipeline)
    assert pipeline.states[-1].backend == "ort"
    assert len(pipeline.next(pipeline.classes)) > 0
    assert pipeline.lost() == {}
    entries = ArtifactCache(default_cache_folder()).entries()
    assert not any("engine.plan" in entry.files for entry in entries)


def test_out_of_memory_while_opening(rig: Rig, double) -> None:
    double.set_memory(4096)
    pipeline = Pipeline(rig, {"golden_check": "refuse"}, model=MODEL)
    assert "memory" in problem(pipeline)
    assert pipeline.states[-1].backend == "ort"
    assert len(pipeline.next(pipeline.classes)) > 0
    assert plan_file().exists()


def test_out_of_memory_in_service_costs_no_frame(rig: Rig, double, has_engine: None) -> None:
    pipeline = Pipeline(rig, model=MODEL)
    in_service(pipeline, "trt")
    double.set_memory(4096)
    assert len(pipeline.next(pipeline.classes)) > 0
    assert "memory" in problem(pipeline)
    assert pipeline.states[-1].backend == "ort"
    assert pipeline.lost() == {}


def test_a_gpu_that_fails_in_service_costs_no_frame(rig: Rig, double, has_engine: None) -> None:
    pipeline = Pipeline(rig, model=MODEL)
    in_service(pipeline, "trt")
    pipeline.next(pipeline.classes)
    double.fail("cuStreamSynchronize", 719, times=1_000_000)
    assert len(pipeline.next(pipeline.classes)) > 0
    assert pipeline.states[-1].backend == "ort"
    assert pipeline.lost() == {}
    assert problem(pipeline)
    double.reset()
    assert len(pipeline.next(pipeline.classes)) > 0


def test_precision_switches_live_between_engines(
    rig: Rig, outside: Outside, double, has_engine: None
) -> None:
    pipeline = Pipeline(rig, model=MODEL)
    in_service(pipeline, "trt")
    for precision in ("fp32", "fp16"):
        assert outside.set_parameters(node="/ai/inference", values={"precision": precision}) == [
            [True, ""]
        ]
        wait_for(
            lambda precision=precision: (
                pipeline.states[-1].preparing == "" and pipeline.states[-1].precision == precision
            ),
            f"{precision} in service",
        )
        assert pipeline.states[-1].backend == "trt"
        assert len(pipeline.next(pipeline.classes)) > 0
    assert pipeline.lost() == {}

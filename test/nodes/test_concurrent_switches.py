"""Switches that fail, cross each other or an engine's failure: parameters and state stay true."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edge_inference.engines.serving import engine_opener
from edge_inference.errors import BackendError, CancelledError, ModelError
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for


def change(outside: Outside, node: str, **values):
    return outside.set_parameters(node=node, values=values)


def parameters(outside: Outside, node: str, *names: str) -> list:
    return outside.get_parameters(node=node, names=list(names))


def break_engine(pipeline: Pipeline, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(inputs):
        raise BackendError(message)

    monkeypatch.setattr(pipeline.inference._selector.server.engine.backend, "_infer", fail)


def test_the_others_follow_forth_and_back_without_a_frame_between(
    rig: Rig, outside: Outside
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    pipeline.next(pipeline.detections)
    for model in ("efficientnet_lite0", "nanodet"):
        change(outside, "/ai/inference", model=model)
        wait_for(lambda m=model: pipeline.states[-1].model_name == m)
        for stage in (pipeline.decode, pipeline.preprocess):
            wait_for(lambda s=stage, m=model: s.parameters.current.model == m)
    assert pipeline.next(pipeline.detections).model == "nanodet"
    assert pipeline.lost() == {}


def test_the_requested_engine_is_restored_though_it_cannot_run_here(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(rig, {"backend": "trt"}, model="nanodet")

    def drift(*arguments) -> None:
        raise ModelError("self-check: failed")

    monkeypatch.setattr(pipeline.inference._selector.server._opener, "_check", drift)
    change(outside, "/ai/inference", backend="ort")
    wait_for(lambda: pipeline.states and pipeline.states[-1].problem == "self-check: failed")
    assert parameters(outside, "/ai/inference", "backend") == ["trt"]
    assert pipeline.inference._selector.server.preparation is None
    assert pipeline.states[-1].problem == "self-check: failed"


def test_a_failing_engine_restores_the_previous_parameters(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    change(outside, "/ai/inference", threads=2)
    wait_for(lambda: "2 thread" in pipeline.inference.health.notes()["backend"])
    break_engine(pipeline, "illegal memory access", monkeypatch)
    assert len(pipeline.next(pipeline.detections)) > 0
    assert parameters(outside, "/ai/inference", "threads") == [1]
    assert "1 thread" in pipeline.states[-1].engine
    assert pipeline.states[-1].problem == "illegal memory access"
    assert pipeline.lost() == {}


def test_an_engine_that_fails_during_a_switch_does_not_end_the_switch(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path))
    may_go_on = threading.Event()
    prepare_in_child = engine_opener.prepare_in_child

    def prepare_later(request, cache, progress, cancelled) -> None:
        while not may_go_on.wait(0.01):
            if cancelled():
                raise CancelledError("cancelled")
        prepare_in_child(request, cache, progress, cancelled)

    monkeypatch.setattr(engine_opener, "prepare_in_child", prepare_later)
    pipeline = Pipeline(rig, model="nanodet")
    change(outside, "/ai/inference", threads=2)
    wait_for(lambda: "2 thread" in pipeline.inference.health.notes()["backend"])
    change(outside, "/ai/inference", precision="fp16")
    break_engine(pipeline, "illegal memory access", monkeypatch)
    assert len(pipeline.next(pipeline.detections)) > 0
    assert parameters(outside, "/ai/inference", "threads", "precision") == [2, "fp16"]
    assert "fp16" in pipeline.states[-1].preparing
    may_go_on.set()
    wait_for(lambda: pipeline.states[-1].engine.endswith("fp16"), "fp16")
    assert pipeline.states[-1].problem == ""
    assert pipeline.lost() == {}


def test_a_timing_names_the_model_that_ran(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    timings = rig.tap("/ai/stage_timing")
    engines = pipeline.inference._selector.server
    run = engines.run

    def run_just_before_a_switch(work):
        output = run(work)
        change(outside, "/ai/inference", model="efficientnet_lite0")
        wait_for(lambda: engines.engine.request.model.name == "efficientnet_lite0")
        return output

    monkeypatch.setattr(engines, "run", run_just_before_a_switch)
    pipeline.next(pipeline.detections)
    wait_for(lambda: any(timing.stage == "inference" for timing in timings))
    assert [each.model for each in timings if each.stage == "inference"] == ["nanodet"]


def test_a_model_selected_again_has_its_last_decoder_settings(rig: Rig, outside: Outside) -> None:
    pipeline = Pipeline(rig, model="nanodet", confidence=0.5)
    change(outside, "/ai/decode", confidence=0.25)
    for model, results in [
        ("efficientnet_lite0", pipeline.classes),
        ("nanodet", pipeline.detections),
    ]:
        change(outside, "/ai/inference", model=model)
        wait_for(lambda m=model: pipeline.states[-1].model_name == m)
        pipeline.next(results)
        wait_for(lambda m=model: pipeline.decode.model_name() == m)
    wait_for(lambda: parameters(outside, "/ai/decode", "confidence") == [0.25])

"""Model, backend and precision change while images flow, as a stock client sets them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from edge_inference.engines.precision.int8_mode import (
    INT8_MODES,
    describe_int8_mode,
    mode_in_use,
    weight_bits,
)
from edge_inference.engines.serving import engine_opener
from edge_inference.errors import BackendError, ModelError
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for


def change(outside: Outside, node: str, **values):
    """Set one by one; return (successful, reason) of the last."""
    return outside.set_parameters(node=node, values=values)[-1]


def parameter(outside: Outside, node: str, name: str):
    return outside.get_parameters(node=node, names=[name])[0]


@contextmanager
def camera(pipeline: Pipeline) -> Iterator[list[int]]:
    """Send the next image soon after the one before has its result; nothing may be lost."""
    sent: list[int] = []
    stop = threading.Event()

    def results() -> int:
        return len(pipeline.detections) + len(pipeline.classes)

    def shoot() -> None:
        while not stop.wait(0.02):  # the next engine needs time to be made, too
            sent.append(pipeline.send())
            wait_for(lambda: results() >= len(sent), "a result of every image")

    thread = threading.Thread(target=shoot)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def stamps(results) -> list[int]:
    return [result.stamp_ns for result in results]


def test_a_precision_changes_without_lost_or_duplicate_frames(rig: Rig, outside: Outside) -> None:
    pipeline = Pipeline(rig, model="efficientnet_lite0")
    exact, fast = (describe_int8_mode(mode_in_use(weight_bits(mode))) for mode in INT8_MODES)
    with camera(pipeline) as sent:
        for values, words in (
            ({"precision": "int8"}, exact),
            ({"precision": "fp32"}, "fp32"),
            ({"precision": "fp16"}, "fp16"),
            ({"precision": "int8", "int8_mode": "fast"}, fast),
        ):
            assert change(outside, "/ai/inference", **values) == [True, ""]
            wait_for(
                lambda words=words: pipeline.states[-1].engine.endswith(f".onnx, {words}"),
                f"{words} in service",
            )
            count = len(pipeline.classes)
            wait_for(lambda count=count: len(pipeline.classes) > count + 5, "frames to go on")
    assert stamps(pipeline.classes) == sent
    assert pipeline.lost() == {}
    assert pipeline.inference.health.notes()["precision"] == "int8"
    # ONNX Runtime's CPU engine computes fp16 files in fp32, and the node says so.
    precisions = {
        state.engine.rpartition("onnx, ")[2]: state.precision for state in pipeline.states
    }
    assert precisions == {"fp32": "fp32", exact: "int8", fast: "int8", "fp16": "fp32"}
    assert {result.label(0) for result in pipeline.classes} != set()


def test_the_others_follow_a_change_of_model(rig: Rig, outside: Outside) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    with camera(pipeline) as sent:
        for model, results in [
            ("efficientnet_lite0", pipeline.classes),
            ("nanodet", pipeline.detections),
            ("efficientnet_lite0", pipeline.classes),
        ]:
            count = len(results)
            assert change(outside, "/ai/inference", model=model) == [True, ""]
            wait_for(lambda n=count, found=results: len(found) > n + 3, f"results of {model}")
            assert results[-1].model == model
            for name in ("decode", "preprocess"):
                wait_for(lambda m=model, n=name: parameter(outside, f"/ai/{n}", "model") == m)
    assert sorted(stamps(pipeline.detections) + stamps(pipeline.classes)) == sent
    assert pipeline.lost() == {}
    names = outside.list_parameters(node="/ai/decode")
    assert "top_k" in names
    assert "strides" not in names


@pytest.mark.parametrize("order", [("preprocess", "inference"), ("inference", "preprocess")])
def test_the_order_of_the_state_messages_does_not_matter(
    rig: Rig, outside: Outside, order: tuple[str, str]
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    pipeline.next(pipeline.detections)
    for name in order:
        assert change(outside, f"/ai/{name}", model="efficientnet_lite0") == [True, ""]
        pipeline.send()
    wait_for(lambda: pipeline.states[-1].model_name == "efficientnet_lite0")
    assert pipeline.next(pipeline.classes).model == "efficientnet_lite0"
    assert pipeline.lost().get("invalid", 0) == 0


def test_the_state_shows_the_engine_in_use(rig: Rig, outside: Outside) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    received = outside.listen("/ai/inference_state", "edge_inference/InferenceState")
    (state,) = received.wait(1)[:1]
    assert (state["model"], state["model_name"], state["previous_model"]) == (
        "nanodet",
        "nanodet",
        "",
    )
    assert (state["backend"], state["precision"], state["preparing"]) == ("ort", "fp32", "")
    assert state["node"] == "/ai/inference"
    assert state["problem"] == ""
    assert change(outside, "/ai/inference", model="efficientnet_lite0") == [True, ""]
    wait_for(lambda: received[-1]["model_name"] == "efficientnet_lite0")
    assert received[-1]["previous_model"] == "nanodet"
    assert pipeline.lost() == {}


def test_an_engine_that_does_not_open_leaves_the_old_one_in_service(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    pipeline.next(pipeline.detections)
    select = engine_opener.select_backend

    def fail(*arguments):
        raise BackendError("the engine does not fit")

    monkeypatch.setattr(engine_opener, "select_backend", fail)
    assert change(outside, "/ai/inference", threads=2) == [True, ""]
    wait_for(lambda: parameter(outside, "/ai/inference", "threads") == 1, "the old value back")
    assert pipeline.inference.health.take_errors() == [("engine", "the engine does not fit")]
    assert len(pipeline.next(pipeline.detections)) > 0
    wait_for(lambda: pipeline.states[-1].problem == "the engine does not fit")
    monkeypatch.setattr(engine_opener, "select_backend", select)
    assert change(outside, "/ai/inference", threads=2) == [True, ""]
    wait_for(lambda: "2 thread" in pipeline.inference.health.notes()["backend"], "two threads")
    assert pipeline.states[-1].problem == ""


def test_a_drifting_engine_is_rolled_back_and_reported(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(rig, model="efficientnet_lite0")

    def drift(*arguments) -> None:
        raise ModelError("self-check: failed: SQNR 3.0 dB")

    monkeypatch.setattr(pipeline.inference._selector.server._opener, "_check", drift)
    assert change(outside, "/ai/inference", precision="fp16") == [True, ""]
    wait_for(lambda: bool(pipeline.states and pipeline.states[-1].problem))
    assert parameter(outside, "/ai/inference", "precision") == "auto"
    assert pipeline.states[-1].precision == "fp32"
    assert len(pipeline.next(pipeline.classes)) > 0


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"backend": "trt"}, "trt not available"),
        ({"backend": "ort-cpu"}, "unknown backend 'ort-cpu'; did you mean"),
        ({"precision": "int4"}, "expected one of auto, fp32"),
        ({"model": "nanodat"}, "did you mean 'nanodet'"),
    ],
)
def test_an_impossible_engine_is_rejected_at_once(
    rig: Rig, outside: Outside, values: dict[str, str], reason: str, monkeypatch
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    successful, sentence = change(outside, "/ai/inference", **values)
    assert not successful
    assert reason in sentence
    assert len(pipeline.next(pipeline.detections)) > 0
    assert pipeline.inference._selector.server.preparation is None


def test_a_fallback_serves_for_an_engine_that_cannot_run_here(rig: Rig) -> None:
    pipeline = Pipeline(rig, {"backend": "trt"}, model="nanodet")
    assert len(pipeline.next(pipeline.detections)) > 0
    (reason, message), *_ = pipeline.inference.health.take_errors()
    assert reason == "engine"
    assert "trt not available" in message
    wait_for(lambda: bool(pipeline.states))
    assert pipeline.states[-1].backend == "ort"
    assert "trt not available" in pipeline.states[-1].problem


def test_without_a_fallback_it_does_not_configure(rig: Rig) -> None:
    component = rig.load_component("Inference", backend="trt", fallback=False)
    assert component.failure == "did not configure"
    (reason, message) = component.node.health.take_errors()[0]
    assert reason == "configuration"
    assert "trt not available" in message

"""Failures, changes and directives that cross each other in one inference node."""

from __future__ import annotations

import threading

import pytest

from edge_inference.core.directives.directive import DirectiveLimits
from edge_inference.engines.serving.engine import Engine
from edge_inference.errors import BackendError, ModelError
from edge_inference.nodes.perception import inference
from perception_rig import Pipeline, offer_everything
from rig import Outside, Rig, wait_for


def change(outside: Outside, **values) -> None:
    assert outside.set_parameters(node="/ai/inference", values=values) == [[True, ""]]


@pytest.mark.parametrize("new", [{"threads": 3}, {"variants": ["fp16"]}], ids=str)
def test_a_failure_does_not_overwrite_a_newer_change_of_the_user(
    rig: Rig, outside: Outside, monkeypatch: pytest.MonkeyPatch, new: dict
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    change(outside, threads=2)
    wait_for(lambda: "2 thread" in pipeline.inference.health.notes()["backend"])
    make_points, handled = inference.OperatingPoints, threading.Event()

    def fail_first(settings, *arguments):
        """Let the engine fail after the parameters have changed, before they are handled."""
        if not arguments:
            return make_points(settings)  # the check of the new parameters
        monkeypatch.undo()
        handled.set()

        def work(engine: Engine) -> None:
            if engine.request.threads == 2:
                raise BackendError("illegal memory access")

        pipeline.inference._selector.server.run(work)
        return make_points(settings, *arguments)

    monkeypatch.setattr(inference, "OperatingPoints", fail_first)
    change(outside, **new)
    wait_for(handled.is_set)
    expected = {"threads": 2, "variants": [], **new}
    threads = f"{expected['threads']} thread"
    wait_for(lambda: threads in pipeline.inference.health.notes()["backend"], threads)
    found = outside.get_parameters(node="/ai/inference", names=list(expected))
    assert found == list(expected.values())


def test_a_callback_that_fails_costs_no_frame(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline(rig, model="nanodet", inference={"precision": "fp16"})
    node = pipeline.inference
    wait_for(lambda: node._selector.server.preparation is None)
    failing = node._selector.server.engine

    def work(engine: Engine) -> str:
        if engine is failing:
            raise BackendError("illegal memory access")
        return engine.precision

    def fail_to_publish(*arguments) -> None:
        raise RuntimeError("publisher's context is invalid")

    with monkeypatch.context() as patch:
        patch.setattr(node._states, "publish", fail_to_publish)
        assert node._selector.server.run(work) == "fp32"
    assert node._selector.points.is_ruled_out(0)
    errors = [text for _, text in node.health.take_errors()]
    assert "RuntimeError: publisher's context is invalid" in errors


def test_the_problem_stays_while_the_next_variant_is_prepared(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_everything(monkeypatch)
    pipeline = Pipeline(rig, model="nanodet", inference={"variants": ["fp16", "int8"]})
    node, may_go_on = pipeline.inference, threading.Event()
    server = node._selector.server

    def check(selection, backend, cancelled):
        if selection.precision == "fp16":
            raise ModelError("self-check: failed")
        assert may_go_on.wait(60)
        return {}

    monkeypatch.setattr(server._opener, "_check", check)
    rig.call(lambda: node._selector.limit(DirectiveLimits(precision_ceiling="fp16")))
    try:
        wait_for(lambda: "int8" in pipeline.states[-1].preparing, "the next variant")
        assert pipeline.states[-1].problem == "self-check: failed"
    finally:
        may_go_on.set()
    wait_for(lambda: pipeline.states[-1].precision.startswith("int8"), "int8")
    assert pipeline.states[-1].problem == ""


def test_a_point_that_has_failed_is_not_reported_as_being_prepared(rig: Rig) -> None:
    pipeline = Pipeline(rig, model="nanodet", inference={"backend": "trt"})
    node = pipeline.inference
    points, index = node._selector.selected()
    limits = DirectiveLimits(max_rate_hz=5.0)
    engine = node._selector.server.engine
    state = points.serving_state(engine, index, limits, node._throttle.meter)
    assert state.problem == f"nanodet {points.precisions[0]} has failed"


def test_an_update_that_meets_the_close_does_nothing(rig: Rig) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    node = pipeline.inference
    raised: list[BaseException] = []
    waiting = threading.Event()

    class Lock:
        """The client's lock; it is taken here until the node has closed."""

        def __enter__(self) -> None:
            waiting.set()
            real.__enter__()

        def __exit__(self, *exc_info: object) -> None:
            real.__exit__(*exc_info)

    def update() -> None:
        try:
            node._throttle.update()
        except BaseException as error:
            raised.append(error)

    real, node._throttle.lock = node._throttle.lock, Lock()
    with real:
        updating = threading.Thread(target=update)
        updating.start()
        assert waiting.wait(60)
        node._throttle.lock = real
        rig.call(node.unsubscribe)
        node._selector, selector = None, node._selector
    updating.join(60)
    node._selector = selector
    assert not updating.is_alive()
    assert raised == []

"""Which operating point an engine selector serves, whatever fails and whoever asks meanwhile."""

from __future__ import annotations

import threading

import pytest

from edge_inference.core.directives.directive import DirectiveLimits
from edge_inference.engines.serving.engine_selector import PointList, PointRequest
from edge_inference.engines.serving.service_states import (
    Asker,
    RequestState,
    Service,
    ServiceState,
)
from edge_inference.errors import BackendError, EdgeInferenceError, EngineFileError, ModelError
from service_rig import FREE, LOW, ServiceRig


def ruled_out(rig: ServiceRig) -> list[str]:
    points = rig.selector.points
    return [name for n, name in enumerate(points.precisions) if points.is_ruled_out(n)]


def test_what_fails_in_service_is_ruled_out_and_not_what_is_prepared(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.finish()
    rig.selector.limit(LOW)
    rig.engines.broken_run["fp16"] = BackendError("illegal memory access")
    rig.infer()
    assert ruled_out(rig) == ["fp16"]
    rig.finish()
    assert rig.precision == "int8"
    assert rig.server.state == ServiceState(Service.IN_SERVICE, RequestState.NONE)


def test_a_directives_point_that_fails_gives_way_to_the_next(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.finish()
    assert ruled_out(rig) == ["fp16"]
    assert rig.precision == "int8"
    rig.selector.limit(FREE)
    rig.finish()
    assert rig.precision == "fp32"


def test_a_users_point_that_fails_brings_the_list_of_what_serves_back(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.selector.limit(LOW)
    rig.finish()
    before = rig.selector.points
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.selector.limit(FREE)
    rig.selector.ask(rig.points("fp16", "int8"))
    rig.finish()
    assert rig.selector.points is before
    assert rig.restored == [before]
    assert rig.precision == "fp32"


def test_a_list_with_the_same_point_is_the_one_that_comes_back(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    latest = rig.points("fp32", "fp16")
    rig.selector.ask(latest)
    assert rig.server.preparation is None
    rig.engines.drifting["int8"] = ModelError("self-check: failed")
    rig.selector.ask(rig.points("int8"))
    rig.finish()
    assert rig.selector.points is latest


def test_a_point_that_is_not_faster_is_not_ruled_out(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.engines.slower.add("int8")
    rig.selector.limit(LOW)
    rig.finish()
    assert ruled_out(rig) == []
    assert rig.precision == "fp32"


def test_a_directive_does_not_end_the_rebuild_of_the_users_engine(rig: ServiceRig) -> None:
    rig.engines.broken_open["fp16"] = EngineFileError("the plan is cut off")
    rig.open("fp16", "int8")
    rig.selector.limit(FREE)
    rig.finish()
    assert rig.precision == "fp16"
    assert ruled_out(rig) == []


def test_after_a_failure_the_users_point_is_not_tried_again_by_itself(rig: ServiceRig) -> None:
    rig.engines.impossible["fp16"] = BackendError("no driver")
    rig.open("fp16", "int8")
    rig.selector.limit(LOW)
    rig.finish()
    assert rig.precision == "int8"
    rig.selector.limit(FREE)
    assert rig.server.preparation is None
    rig.engines.impossible.clear()
    rig.selector.ask(rig.points("fp16", "int8"))
    rig.finish()
    assert rig.precision == "fp16"


def test_several_engines_that_fail_at_once_cost_no_frame(rig: ServiceRig) -> None:
    rig.open("fp16")
    rig.selector.ask(rig.points("int8"))
    rig.finish()
    for precision in ("int8", "fp16"):
        rig.engines.broken_run[precision] = BackendError("illegal memory access")
    rig.infer()
    assert rig.precision == "fp32"
    assert [str(each.request and each.request.precision) for each in rig.failures] == [
        "int8",
        "fp16",
    ]
    assert rig.server.state == ServiceState(Service.FALLBACK, RequestState.FAILED)


def test_a_fallback_that_fails_does_not_rule_out_what_it_replaces(rig: ServiceRig) -> None:
    rig.engines.missing.add("fp16")
    rig.open("fp16", "int8")
    rig.begin_inference()
    rig.finish()
    assert rig.server.state == ServiceState(Service.FALLBACK, RequestState.READY)
    rig.engines.broken_run["fp32"] = BackendError("out of memory")
    rig.end_inference()
    assert rig.precision == "fp16"
    assert ruled_out(rig) == []
    assert rig.restored == []


def test_an_engine_that_fails_to_close_costs_no_frame(rig: ServiceRig) -> None:
    rig.open("fp16", "int8")
    error = BackendError("illegal memory access")
    rig.engines.broken_run["fp16"] = rig.engines.broken_close["fp16"] = error
    rig.infer()
    assert rig.precision == "fp32"
    assert ruled_out(rig) == ["fp16"]
    rig.engines.broken_close["fp32"] = error
    rig.selector.limit(LOW)
    rig.finish()
    rig.infer()
    assert rig.precision == "int8"
    assert [str(each.error) for each in rig.failures] == ["illegal memory access"] * 3


def test_what_failed_is_ruled_out_in_each_list_that_can_come_back(rig: ServiceRig) -> None:
    rig.open("fp16", "int8")
    rig.engines.missing.add("int8")
    rig.selector.ask(rig.points("int8"))
    rig.engines.broken_run["fp16"] = BackendError("illegal memory access")
    rig.infer()
    rig.engines.unbuildable["int8"] = BackendError("no memory to build")
    rig.finish()
    assert rig.selector.points.precisions == ("fp16", "int8")
    assert ruled_out(rig) == ["fp16", "int8"]
    assert rig.engines.made == []
    assert len(rig.failures) == 2


def test_what_the_user_asked_for_again_is_not_ruled_out_by_what_was_before(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.engines.drifting["int8"] = ModelError("self-check: failed")
    rig.selector.limit(LOW)
    rig.finish()
    rig.selector.limit(FREE)
    for precisions in (("fp32", "int8"), ("fp16",)):
        rig.engines.drifting = {"fp16": ModelError("self-check: failed")}
        rig.ask(*precisions)
        rig.finish()
    assert rig.selector.points.precisions == ("fp32", "int8")
    assert ruled_out(rig) == []


def test_the_list_of_what_serves_comes_back_while_a_variant_is_prepared(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    before = rig.selector.points
    rig.selector.ask(rig.points("fp16", "int8"))
    rig.finish()
    rig.selector.limit(LOW)
    rig.engines.broken_run["fp16"] = BackendError("illegal memory access")
    rig.infer()
    assert rig.restored == [before]
    rig.finish()
    assert rig.precision == "int8"
    rig.selector.limit(FREE)
    rig.finish()
    assert rig.precision == "fp32"


def test_the_users_point_is_not_refused_for_its_speed(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.engines.slower.add("int8")
    rig.selector.limit(LOW)
    rig.step()  # the directive's check begins
    rig.selector.ask(rig.points("int8"))
    rig.finish()
    assert rig.precision == "int8"
    assert rig.restored == []
    assert ruled_out(rig) == []


def test_a_point_that_is_not_faster_is_withdrawn_from_the_latest_list(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.engines.slower.add("int8")
    rig.selector.limit(LOW)
    rig.step()
    rig.selector.ask(rig.points("fp32", "int8"))
    rig.finish()
    assert rig.precision == "fp32"
    assert list(rig.selector.points.withdrawn) == [1]
    assert ruled_out(rig) == []


def test_an_engine_that_fails_to_close_hides_no_error_of_its_check(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.engines.slower.add("int8")
    rig.engines.broken_close["int8"] = BackendError("illegal memory access")
    rig.selector.limit(LOW)
    rig.finish()
    assert [str(each.error) for each in rig.failures] == ["no faster"]
    assert ruled_out(rig) == []


def test_the_cheapest_point_serves_where_none_is_cheap_enough(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16")
    rig.selector.limit(LOW)
    rig.finish()
    assert rig.precision == "fp16"


def test_limits_that_arrive_while_it_opens_apply(rig: ServiceRig) -> None:
    rig.on_changed = lambda: rig.selector.limit(LOW)
    rig.engines.missing.add("fp16")
    rig.open("fp16", "int8")
    rig.on_changed = lambda: None
    rig.finish()
    assert rig.precision == "int8"
    assert rig.engines.made == []


def test_a_user_who_asks_again_while_the_failure_is_reported_gets_it(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    before = rig.selector.points
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.selector.ask(rig.points("fp16"))

    def ask_again() -> None:
        asking = threading.Thread(target=rig.selector.ask, args=(rig.points("fp16", "int8"),))
        asking.start()
        asking.join()

    rig.on_failure = ask_again
    rig.finish()
    assert rig.precision == "fp32"
    assert rig.selector.points is before
    assert rig.restored == [before]
    assert rig.server.state == ServiceState(Service.IN_SERVICE, RequestState.NONE)


def test_what_a_failure_leads_to_belongs_to_whoever_chose_it(rig: ServiceRig) -> None:
    rig.engines.broken_open["fp16"] = EngineFileError("the plan is cut off")
    rig.open("fp16", "int8")
    assert rig.server.preparation is not None
    assert rig.server.preparation.asker is Asker.USER
    rig.selector.limit(LOW)
    assert rig.server.preparation.asker is Asker.DIRECTIVE
    rig.selector.ask(rig.points("int8"))
    assert rig.server.preparation.asker is Asker.USER


def test_a_point_that_is_listed_twice_is_tried_once(rig: ServiceRig) -> None:
    rig.open("fp32", "int8", "int8")
    rig.engines.drifting["int8"] = ModelError("self-check: failed")
    rig.selector.limit(LOW)
    rig.finish()
    assert len(rig.failures) == 1
    assert rig.precision == "fp32"


def test_closing_frees_everything_though_an_engine_fails_to_close(rig: ServiceRig) -> None:
    rig.open("fp16")
    rig.engines.broken_close["fp16"] = BackendError("illegal memory access")
    rig.selector.close()
    assert [str(each.error) for each in rig.failures] == ["illegal memory access"]
    assert rig.engines.open_backends() == []
    assert rig.server.state == ServiceState(Service.CLOSED, RequestState.NONE)


@pytest.mark.parametrize("steps", range(5))
def test_what_is_under_way_belongs_to_the_latest_list(rig: ServiceRig, steps: int) -> None:
    rig.open("fp32")
    rig.engines.missing.add("fp16")
    rig.begin_inference()
    rig.ask("fp16")
    for _ in range(steps):
        rig.step()
    latest = rig.points("fp16", "int8")
    rig.selector.ask(latest)
    rig.finish()
    rig.end_inference()
    assert rig.engines.made == ["fp16"]
    request = rig.server.engine and rig.server.engine.request
    assert isinstance(request, PointRequest) and request.points is latest


def test_times_belong_to_the_list_that_is_current(rig: ServiceRig) -> None:
    rig.open("int8")
    rig.selector.ask(rig.points("fp32", "fp16", "int8"))
    seen = []

    def times(points: PointList) -> list[float | None]:
        seen.append(points)
        return [10.0] * len(points.requests)

    rig.selector.adapt(0, 10.0, times)
    assert seen == [rig.selector.points]


def test_nothing_is_asked_for_after_the_close(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.server.close()
    request = rig.points("int8").requests[0]
    for asker in Asker:
        assert not rig.server.ask(request, asker)
    assert rig.server.preparation is None
    assert rig.server.state == ServiceState(Service.CLOSED, RequestState.NONE)


def test_an_engine_that_fails_after_it_was_cancelled_changes_nothing(rig: ServiceRig) -> None:
    rig.open("fp32")
    rig.ask("fp16")
    rig.step()  # its check begins
    rig.ask("int8")
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.step(0)
    assert rig.server.state == ServiceState(Service.IN_SERVICE, RequestState.WANTED)
    assert rig.failures == []
    rig.finish()
    assert rig.precision == "int8"


def test_an_engine_that_is_ready_serves_the_next_inference(rig: ServiceRig) -> None:
    rig.open("fp32")
    rig.lock.hold_back(True)  # the thread of the preparation comes too late
    rig.ask("int8")
    rig.finish()
    rig.infer()
    assert rig.precision == "int8"
    rig.lock.hold_back(False)


def test_an_engine_that_fails_during_the_close_is_not_replaced(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.on_failure = rig.close_later
    rig.finish()
    rig.wait_until_closed()
    assert rig.server.engine is None
    assert "int8" not in [each.precision for each in rig.engines.backends]
    assert rig.engines.open_backends() == []


def test_without_any_engine_opening_fails_and_can_be_tried_again(rig: ServiceRig) -> None:
    rig.engines.broken_open["fp32"] = BackendError("out of memory")
    with pytest.raises(EdgeInferenceError, match="out of memory"):
        rig.open("fp32")
    assert rig.server.state == ServiceState(Service.CLOSED, RequestState.FAILED)
    rig.engines.broken_open.clear()
    rig.open("fp32")
    assert rig.precision == "fp32"

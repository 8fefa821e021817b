"""The table of an engine server's states: its text, each of its edges, and random sequences."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_inference.core.directives.directive import DirectiveLimits
from edge_inference.core.models.model import ModelDescription, find_model
from edge_inference.engines.serving import engine_opener, service_states
from edge_inference.engines.serving.service_states import (
    TRANSITIONS,
    RequestState,
    Service,
    ServiceEvent,
    ServiceState,
    ServiceStateMachine,
)
from edge_inference.errors import BackendError, EdgeInferenceError, EngineFileError, ModelError
from service_rig import Edge, ServiceRig, SteppedEngines, random_events

FREE, LOW = DirectiveLimits(), DirectiveLimits(precision_ceiling="int8")

MakeRig = Callable[[], ServiceRig]


@pytest.fixture(scope="module")
def model() -> ModelDescription:
    return find_model("efficientnet_lite0")


@pytest.fixture
def edges() -> set[Edge]:
    return set()


@pytest.fixture
def make_rig(
    model: ModelDescription, edges: set[Edge], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MakeRig:
    def make() -> ServiceRig:
        engines = SteppedEngines(model)
        monkeypatch.setattr(engine_opener, "select_backend", engines.select)
        monkeypatch.setattr(engine_opener, "prepare_in_child", engines.make)
        return ServiceRig(engines, tmp_path, edges)

    return make


@pytest.fixture
def rig(make_rig: MakeRig) -> Iterator[ServiceRig]:
    rig = make_rig()
    yield rig
    rig.close()


# The table --------------------------------------------------------------------------------------


def expand(text: str, kind: type[RequestState] | type[Service]) -> list[str]:
    """Return the values that the left side of an arrow stands for."""
    if text == "any":
        return [each.value for each in kind]
    if text == "serving":
        return [Service.IN_SERVICE.value, Service.FALLBACK.value]
    return text.split(", ")


def read_docstring() -> dict[tuple[str, str, str], tuple[str, str]]:
    """Return the table in the module's docstring: service, request, event → service, request."""
    assert service_states.__doc__ is not None
    lines = service_states.__doc__.splitlines()
    ruler = next(n for n, line in enumerate(lines) if line.startswith("event ")) + 1
    rows = itertools.takewhile(lambda line: not line.startswith("="), lines[ruler + 1 :])
    table: dict[tuple[str, str, str], tuple[str, str]] = {}
    for row in rows:
        event, request, service = (part.strip() for part in row.split("  ") if part.strip())
        (requests, request_to), (services, service_to) = (
            text.split(" → ") if "→" in text else (text.removesuffix(" ="), "=")
            for text in (request, service)
        )
        known = {key[1] for key in table if key[2] == event}
        names = (
            [each.value for each in RequestState if each.value not in known]
            if requests == "all others"
            else expand(requests, RequestState)
        )
        for name, where in itertools.product(names, expand(services, Service)):
            after = (
                where if service_to == "=" else service_to,
                name if request_to == "=" else request_to,
            )
            assert (where, name, event) not in table, "two rows for one edge"
            table[where, name, event] = after
    return table


def test_the_docstring_is_the_table() -> None:
    table = {
        (state.service.value, state.request.value, event.value): (
            after.service.value,
            after.request.value,
        )
        for (state, event), after in TRANSITIONS.items()
    }
    assert read_docstring() == table


def test_an_event_outside_the_table_is_refused() -> None:
    machine = ServiceStateMachine()
    with pytest.raises(ValueError, match="exchanged while closed and none"):
        machine.handle(ServiceEvent.EXCHANGED)
    assert machine.state == ServiceState(Service.CLOSED, RequestState.NONE)


def test_every_edge_is_taken_by_a_server(make_rig: MakeRig, edges: set[Edge]) -> None:
    # Rare by chance: the user's point is given up, and a directive comes and goes.
    rig = make_rig()
    rig.engines.impossible["fp16"] = BackendError("no driver")
    rig.open("fp16", "int8")
    for steps in range(5):
        rig.engines.missing.add("int8")
        rig.selector.limit(LOW)
        for _ in range(steps):
            rig.step()
        rig.selector.limit(FREE)
    rig.load(80.0)
    rig.close()
    rig = make_rig()
    rig.engines.impossible["int8"] = ModelError("no such variant")
    with pytest.raises(ModelError):
        rig.open("int8")
    rig.close()
    for seed in range(3000):
        if edges == set(TRANSITIONS):
            break
        rig = make_rig()
        try:
            random_events(rig, random.Random(seed), 100)
        finally:
            rig.close()
            rig.server.close()
    assert edges == set(TRANSITIONS)


def test_random_sequences(make_rig: MakeRig) -> None:
    served = 0
    for seed in range(10_000):
        rig = make_rig()
        try:
            random_events(rig, random.Random(f"{seed}"), 10)
            served += rig.served
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        finally:
            rig.close()
    assert served > 10_000  # each inference was answered


# What a user sees ---------------------------------------------------------------------------------


def ruled_out(rig: ServiceRig) -> list[str]:
    points = rig.selector.points
    return [name for n, name in enumerate(points.precisions) if points.is_ruled_out(n)]


def finish(rig: ServiceRig) -> None:
    """Let everything that is under way end."""
    while rig.engines.paused:
        rig.step()


def test_what_fails_in_service_is_ruled_out_and_not_what_is_prepared(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    finish(rig)
    rig.selector.limit(LOW)
    rig.engines.broken_run["fp16"] = BackendError("illegal memory access")
    rig.infer()
    assert ruled_out(rig) == ["fp16"]
    finish(rig)
    assert rig.precision == "int8"
    assert rig.server.state == ServiceState(Service.IN_SERVICE, RequestState.NONE)


def test_a_directives_point_that_fails_gives_way_to_the_next(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    finish(rig)
    assert ruled_out(rig) == ["fp16"]
    assert rig.precision == "int8"
    rig.selector.limit(FREE)
    finish(rig)
    assert rig.precision == "fp32"


def test_a_users_point_that_fails_brings_the_list_of_what_serves_back(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.selector.limit(LOW)
    finish(rig)
    before = rig.selector.points
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.selector.limit(FREE)
    rig.selector.ask(rig.points("fp16", "int8"))
    finish(rig)
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
    finish(rig)
    assert rig.selector.points is latest


def test_a_point_that_is_not_faster_is_not_ruled_out(rig: ServiceRig) -> None:
    rig.open("fp32", "int8")
    rig.engines.drifting["int8"] = rig.not_faster(1)
    rig.selector.limit(LOW)
    finish(rig)
    assert ruled_out(rig) == []
    assert rig.precision == "fp32"


def test_a_directive_does_not_end_the_rebuild_of_the_users_engine(rig: ServiceRig) -> None:
    rig.engines.broken_open["fp16"] = EngineFileError("the plan is cut off")
    rig.open("fp16", "int8")
    rig.selector.limit(FREE)
    finish(rig)
    assert rig.precision == "fp16"
    assert ruled_out(rig) == []


def test_after_a_failure_the_users_point_is_not_tried_again_by_itself(rig: ServiceRig) -> None:
    rig.engines.impossible["fp16"] = BackendError("no driver")
    rig.open("fp16", "int8")
    rig.selector.limit(LOW)
    finish(rig)
    assert rig.precision == "int8"
    rig.selector.limit(FREE)
    assert rig.server.preparation is None
    rig.engines.impossible.clear()
    rig.selector.ask(rig.points("fp16", "int8"))
    finish(rig)
    assert rig.precision == "fp16"


def test_several_engines_that_fail_at_once_cost_no_frame(rig: ServiceRig) -> None:
    rig.open("fp16")
    rig.selector.ask(rig.points("int8"))
    finish(rig)
    for precision in ("int8", "fp16"):
        rig.engines.broken_run[precision] = BackendError("illegal memory access")
    rig.infer()
    assert rig.precision == "fp32"
    assert [str(each.request and each.request.precision) for each in rig.failures] == [
        "int8",
        "fp16",
    ]
    assert rig.server.state == ServiceState(Service.FALLBACK, RequestState.FAILED)


def test_load_moves_below_user_and_directive(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.load(45.0)
    finish(rig)
    assert rig.precision == "fp16"
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.load(60.0)
    finish(rig)
    assert rig.precision == "int8"
    rig.selector.limit(FREE)
    for _ in range(2):
        rig.load(10.0)
    finish(rig)
    assert rig.precision == "fp32"


def test_an_engine_that_fails_during_the_close_is_not_replaced(rig: ServiceRig) -> None:
    rig.open("fp32", "fp16", "int8")
    rig.engines.drifting["fp16"] = ModelError("self-check: failed")
    rig.selector.limit(DirectiveLimits(precision_ceiling="fp16"))
    rig.on_failure = rig.close_later
    finish(rig)
    rig.wait_until_closed()
    assert rig.server.engine is None
    assert rig.engines.open_backends() == []


def test_without_any_engine_opening_fails_and_can_be_tried_again(rig: ServiceRig) -> None:
    rig.engines.broken_open["fp32"] = BackendError("out of memory")
    with pytest.raises(EdgeInferenceError, match="out of memory"):
        rig.open("fp32")
    assert rig.server.state == ServiceState(Service.CLOSED, RequestState.FAILED)
    rig.engines.broken_open.clear()
    rig.open("fp32")
    assert rig.precision == "fp32"

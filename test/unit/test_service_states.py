"""The table of an engine server's states: its text, each of its edges, and random sequences."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from edge_inference.engines.serving import service_states
from edge_inference.engines.serving.service_states import (
    TRANSITIONS,
    RequestState,
    Service,
    ServiceEvent,
    ServiceState,
    ServiceStateMachine,
)
from edge_inference.errors import BackendError, EngineFileError, ModelError
from service_rig import FREE, LOW, Edge, ServiceRig, random_events

MakeRig = Callable[[], ServiceRig]

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
        rig.begin_inference()
        rig.selector.limit(LOW)
        for _ in range(steps):
            rig.step()
        rig.selector.limit(FREE)
        rig.end_inference()
    rig.close()
    rig = make_rig()
    rig.engines.impossible["fp16"] = BackendError("no driver")
    rig.open("fp16", "int8")
    rig.load(80.0)
    rig.close()
    rig = make_rig()
    rig.engines.broken_open["fp16"] = EngineFileError("the plan is cut off")
    rig.open("fp16", allow_fallback=False)
    rig.ask("fp32")
    rig.finish()
    rig.ask("int8")
    rig.engines.broken_run["fp32"] = BackendError("illegal memory access")
    rig.engines.during_roll_back = rig.finish
    rig.infer()
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


@pytest.mark.parametrize("part", range(20))  # on a loaded machine each takes minutes
def test_random_sequences(make_rig: MakeRig, part: int) -> None:
    served = 0
    for seed in range(500 * part, 500 * (part + 1)):
        rig = make_rig()
        try:
            random_events(rig, random.Random(f"{seed}"), 10)
            served += rig.served
        except BaseException:
            print(f"seed {seed}")
            raise
        finally:
            rig.close()
    assert served > 500  # each inference was answered

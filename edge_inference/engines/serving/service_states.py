"""The states of an engine server, and the events that change them.

A state has two parts: what serves, and what became of the engine that was asked for last.

==========  ===================================================================
service     what serves
==========  ===================================================================
closed      nothing
in_service  an engine that was asked for
fallback    ONNX Runtime, in place of the engine that was asked for
==========  ===================================================================

==========  ===================================================================
request     the engine that was asked for last
==========  ===================================================================
none        it serves, or what serves is to stay
wanted      its work has not begun
preparing   its file is made
checking    it is opened and checked
ready       it takes over before the next inference
failed      it was refused, or failed in service, and is not tried again by itself
==========  ===================================================================

Each event moves both parts. An event in a state that is not in the table is a programming error.
``=`` leaves a part as it is, ``any`` stands for every value, ``serving`` for in_service and
fallback.

==================  ========================================  ==========================
event               request                                   service
==================  ========================================  ==========================
asked_by_user       none, failed → wanted                     closed =
asked_by_user       any → wanted                              serving =
asked_by_directive  any → wanted                              serving =
asked_by_load       any → wanted                              serving =
build_began         wanted, checking → preparing              any =
check_began         wanted, preparing → checking              any =
passed              checking → ready                          any =
exchanged           ready → none                              any → in_service
refused             wanted, preparing, checking → failed      any =
cancelled           wanted, preparing, checking, ready → none  serving =
fallback_opened     wanted, failed =                          closed → fallback
fell_back           none → failed                             in_service → fallback
fell_back           all others =                              in_service → fallback
rolled_back         none → failed                             in_service =
rolled_back         all others =                              in_service =
closed              any → none                                serving → closed
closed              none, failed → none                       closed =
==================  ========================================  ==========================

The user names the best operating point, a directive is a ceiling, and load moves below both: whose
choice the engine is, is an event of its own. ``fell_back`` and ``rolled_back`` follow an engine
that failed in service: ONNX Runtime or the previous engine has taken over. An engine that fails
while nothing can take over stays in service, and its error goes to whoever wanted the inference.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple


class Service(enum.Enum):
    """What serves."""

    CLOSED = "closed"
    IN_SERVICE = "in_service"
    FALLBACK = "fallback"


class RequestState(enum.Enum):
    """What became of the engine that was asked for last."""

    NONE = "none"
    WANTED = "wanted"
    PREPARING = "preparing"
    CHECKING = "checking"
    READY = "ready"
    FAILED = "failed"


class ServiceState(NamedTuple):
    """One state of an engine server."""

    service: Service
    request: RequestState


class ServiceEvent(enum.Enum):
    """What changes the state."""

    ASKED_BY_USER = "asked_by_user"
    ASKED_BY_DIRECTIVE = "asked_by_directive"
    ASKED_BY_LOAD = "asked_by_load"
    BUILD_BEGAN = "build_began"
    CHECK_BEGAN = "check_began"
    PASSED = "passed"
    EXCHANGED = "exchanged"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    FALLBACK_OPENED = "fallback_opened"
    FELL_BACK = "fell_back"
    ROLLED_BACK = "rolled_back"
    CLOSED = "closed"


class Asker(enum.Enum):
    """Whose choice an engine is; the value is the event."""

    USER = ServiceEvent.ASKED_BY_USER
    DIRECTIVE = ServiceEvent.ASKED_BY_DIRECTIVE
    LOAD = ServiceEvent.ASKED_BY_LOAD

    def describe(self) -> str:
        """Return the asker as text."""
        return self.name.lower()


_S, _R, _E = Service, RequestState, ServiceEvent
_SERVING = (_S.IN_SERVICE, _S.FALLBACK)
_IN_WORK = (_R.WANTED, _R.PREPARING, _R.CHECKING)


class _Row(NamedTuple):
    """One row of the table; None as a destination leaves the part as it is."""

    event: ServiceEvent
    request_from: Iterable[RequestState]
    request_to: RequestState | None
    service_from: Iterable[Service]
    service_to: Service | None


_ROWS = (
    _Row(_E.ASKED_BY_USER, (_R.NONE, _R.FAILED), _R.WANTED, (_S.CLOSED,), None),
    _Row(_E.ASKED_BY_USER, _R, _R.WANTED, _SERVING, None),
    _Row(_E.ASKED_BY_DIRECTIVE, _R, _R.WANTED, _SERVING, None),
    _Row(_E.ASKED_BY_LOAD, _R, _R.WANTED, _SERVING, None),
    _Row(_E.BUILD_BEGAN, (_R.WANTED, _R.CHECKING), _R.PREPARING, _S, None),
    _Row(_E.CHECK_BEGAN, (_R.WANTED, _R.PREPARING), _R.CHECKING, _S, None),
    _Row(_E.PASSED, (_R.CHECKING,), _R.READY, _S, None),
    _Row(_E.EXCHANGED, (_R.READY,), _R.NONE, _S, _S.IN_SERVICE),
    _Row(_E.REFUSED, _IN_WORK, _R.FAILED, _S, None),
    _Row(_E.CANCELLED, (*_IN_WORK, _R.READY), _R.NONE, _SERVING, None),
    _Row(_E.FALLBACK_OPENED, (_R.WANTED, _R.FAILED), None, (_S.CLOSED,), _S.FALLBACK),
    _Row(_E.FELL_BACK, (_R.NONE,), _R.FAILED, (_S.IN_SERVICE,), _S.FALLBACK),
    _Row(_E.FELL_BACK, (*_IN_WORK, _R.READY, _R.FAILED), None, (_S.IN_SERVICE,), _S.FALLBACK),
    _Row(_E.ROLLED_BACK, (_R.NONE,), _R.FAILED, (_S.IN_SERVICE,), None),
    _Row(_E.ROLLED_BACK, (*_IN_WORK, _R.READY, _R.FAILED), None, (_S.IN_SERVICE,), None),
    _Row(_E.CLOSED, _R, _R.NONE, _SERVING, _S.CLOSED),
    _Row(_E.CLOSED, (_R.NONE, _R.FAILED), _R.NONE, (_S.CLOSED,), None),
)


def _edges() -> Iterator[tuple[tuple[ServiceState, ServiceEvent], ServiceState]]:
    for row in _ROWS:
        for service in row.service_from:
            for request in row.request_from:
                after = ServiceState(row.service_to or service, row.request_to or request)
                yield (ServiceState(service, request), row.event), after


#: The table: the state after each event.
TRANSITIONS: Mapping[tuple[ServiceState, ServiceEvent], ServiceState] = dict(_edges())


class ServiceStateMachine:
    """The state of one engine server. Not thread-safe."""

    def __init__(self) -> None:
        """Start closed."""
        self.state = ServiceState(Service.CLOSED, RequestState.NONE)

    def handle(self, event: ServiceEvent) -> None:
        """Change the state. Raises ValueError for an event that cannot happen in this state."""
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            service, request = self.state
            raise ValueError(f"{event.value} while {service.value} and {request.value}")
        self.state = after

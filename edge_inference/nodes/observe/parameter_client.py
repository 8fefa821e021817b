"""Reads and changes the parameters of other nodes, for a command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rcl_interfaces.srv import (
    DescribeParameters,
    GetParameters,
    ListParameters,
    SetParameters,
)
from rclpy.node import Node

from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.nodes.conversions.parameter_messages import make_row, to_parameter
from edge_inference.observe.monitor.parameter_row import ParameterRow

_MAX_PARAMETERS = 500
#: Each publisher and subscription of a node declares some; they are of no use while it runs.
_HIDDEN = "qos_overrides."
_CLOSING_S = 1.0


class ParameterClient:
    """For any thread but the executor's, in which ``call(function, timeout_s)`` runs a function."""

    def __init__(self, node: Node, call: Callable[[Callable[[], Any], float], Any]) -> None:
        self._node = node
        self._call = call

    def read(self, node: str, timeout_s: float) -> tuple[ParameterRow, ...]:
        """Return the parameters of a node, by its full name, in alphabetical order.

        Raises EdgeInferenceError where the node does not answer in time.
        """
        deadline_s = time.monotonic() + timeout_s
        listed = self._request(
            ListParameters, node, "list_parameters", ListParameters.Request(), deadline_s
        )
        names = sorted(name for name in listed.result.names if not name.startswith(_HIDDEN))
        return self._read_named(node, names[:_MAX_PARAMETERS], deadline_s)

    def change(self, node: str, name: str, value: object, timeout_s: float) -> str:
        """Set a parameter; return why the node refuses, in its own words, empty if it does not.

        Raises ConfigError for a parameter that the node does not have and for a value of another
        type, EdgeInferenceError where the node does not answer in time.
        """
        deadline_s = time.monotonic() + timeout_s
        rows = self._read_named(node, [name], deadline_s)
        if not rows:
            raise ConfigError(f"{node}: expected one of its parameters, got {one_line(name)!r}")
        request = SetParameters.Request(parameters=[to_parameter(rows[0], value)])
        answer = self._request(SetParameters, node, "set_parameters", request, deadline_s)
        if len(answer.results) != 1:
            raise EdgeInferenceError(
                f"{node}: expected one result, got {len(answer.results)}; is {name} set?"
            )
        result = answer.results[0]
        if result.successful:
            return ""
        return one_line(result.reason) or "the node refuses, and gives no reason"

    def _read_named(
        self, node: str, names: list[str], deadline_s: float
    ) -> tuple[ParameterRow, ...]:
        """Return those of the parameters that the node has."""
        described = self._request(
            DescribeParameters,
            node,
            "describe_parameters",
            DescribeParameters.Request(names=names),
            deadline_s,
        ).descriptors
        names = [each.name for each in described if each.type]
        values = self._request(
            GetParameters, node, "get_parameters", GetParameters.Request(names=names), deadline_s
        ).values
        known = [each for each in described if each.type]
        # A parameter may have been undeclared meanwhile; then the values are fewer.
        if len(values) != len(known):
            raise EdgeInferenceError(f"{node}: its parameters have changed meanwhile; try again")
        return tuple(map(make_row, known, values))

    def _request(self, kind: Any, node: str, service: str, request: Any, deadline_s: float) -> Any:
        def left_s() -> float:
            return max(0.0, deadline_s - time.monotonic())

        make = self._node.create_client
        client = self._call(lambda: make(kind, f"{node}/{service}"), left_s())
        try:
            if not client.wait_for_service(left_s()):
                raise EdgeInferenceError(
                    f"{node}: does not offer {service}; has it ended, or does it run without "
                    "parameter services?"
                )
            answered = threading.Event()
            future = self._call(lambda: client.call_async(request), left_s())
            future.add_done_callback(lambda _: answered.set())
            if not answered.wait(left_s()):
                raise EdgeInferenceError(f"{node}: did not answer {service} in time; is it busy?")
            return future.result()
        finally:
            with suppress(EdgeInferenceError):  # the observer is ending, and closes it
                self._call(lambda: self._node.destroy_client(client), _CLOSING_S)

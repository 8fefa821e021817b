"""Messages that only a monitor receives: diagnostics of any node, and parameters."""

from __future__ import annotations

import math
import sys
from array import array
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    Parameter,
    ParameterDescriptor,
    ParameterEvent,
    ParameterType,
    ParameterValue,
)
from rclpy.serialization import serialize_message

from edge_inference.core.runtime.health import HealthLevel, HealthStatus
from edge_inference.errors import ConfigError, InputError
from edge_inference.nodes.conversions.diagnostics import DiagnosticsAdapter, to_diagnostic_status
from edge_inference.nodes.conversions.parameter_messages import (
    ParameterEventAdapter,
    make_row,
    read_value,
    to_parameter,
)
from edge_inference.observe.monitor.node_health import NodeHealth
from edge_inference.observe.monitor.parameter_row import ParameterChange, ParameterRow

VALUES: list[tuple[str, Any]] = [
    ("bool", True),
    ("integer", -7),
    ("double", 0.25),
    ("string", "int8"),
    ("bool[]", (True, False)),
    ("integer[]", (1, 2)),
    ("double[]", (0.5, 1.5)),
    ("string[]", ("a", "b")),
    ("string[]", ()),
]


def row(type_: str, **values: Any) -> ParameterRow:
    known = {
        "value": None,
        "minimum": None,
        "maximum": None,
        "choices": (),
        "description": "",
        "read_only": False,
    }
    return ParameterRow("limit", type_, **{**known, **values})


def test_diagnostics() -> None:
    adapter = DiagnosticsAdapter()
    healths = tuple(
        NodeHealth(f"/ai/{level}", level, f"it is {level}", {"key": "value"})
        for level in ("ok", "warn", "error", "stale")
    )
    assert adapter.from_bytes(adapter.to_bytes(healths)) == healths
    status = to_diagnostic_status(HealthStatus(HealthLevel.WARN, "hm", {"a": "b"}), "/ai/n", "x")
    data = serialize_message(DiagnosticArray(status=[status]))
    assert adapter.from_bytes(data) == (NodeHealth("/ai/n", "warn", "hm", {"a": "b"}),)


def test_diagnostics_of_an_unknown_level() -> None:
    message = DiagnosticArray(status=[DiagnosticStatus(name="/ai/n", level=b"\x07")])
    with pytest.raises(InputError, match="'/ai/n': level: expected 0 to 3, got 7"):
        DiagnosticsAdapter().from_bytes(serialize_message(message))


def test_diagnostics_are_bounded() -> None:
    status = [DiagnosticStatus(values=[KeyValue(key="k", value="v" * 9000)])]
    with pytest.raises(InputError, match="value: expected at most 8192 bytes"):
        DiagnosticsAdapter().from_bytes(serialize_message(DiagnosticArray(status=status)))


@pytest.mark.parametrize(("type_", "value"), VALUES)
def test_values(type_: str, value: Any) -> None:
    message = to_parameter(row(type_), value)
    assert message.name == "limit"
    assert read_value(message.value) == value
    descriptor = ParameterDescriptor(name="limit", type=message.value.type)
    assert make_row(descriptor, message.value) == row(type_, value=value)
    assert to_parameter(row(type_), list(value) if isinstance(value, tuple) else value) == message


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("bool", 1, "expected a value of type bool, got 1"),
        ("integer", True, "expected a value of type integer, got True"),
        ("integer", 2.0, "expected a value of type integer, got 2.0"),
        ("integer", 2**63, "expected a value of type integer"),
        ("double", math.nan, "expected a value of type double, got nan"),
        ("double", "2", "expected a value of type double, got '2'"),
        ("double", 10**400, "expected a value of type double"),
        ("string", None, "expected a value of type string, got None"),
        ("string", "x" * 5000, "expected a value of type string"),
        ("string", "a\0b", "expected a value of type string"),
        ("string[]", "abc", "expected a list of at most 1000 entries, got 'abc'"),
        ("integer[]", [0] * 1001, "expected a list of at most 1000 entries"),
        ("integer[]", [1, "2"], "expected a value of type integer, got '2'"),
        ("", b"x", "its type cannot be set here"),
    ],
)
def test_values_of_another_type(type_: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"^limit: {expected}"):
        to_parameter(row(type_), value)


def test_a_whole_number_for_a_double() -> None:
    assert to_parameter(row("double"), 2).value.double_value == 2.0


def test_what_a_node_accepts() -> None:
    value = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=3)
    descriptor = ParameterDescriptor(
        name="history",
        type=ParameterType.PARAMETER_INTEGER,
        description="how many\x1b",
        integer_range=[IntegerRange(from_value=1, to_value=2**63 - 1, step=1)],
        read_only=True,
    )
    found = make_row(descriptor, value)
    assert (found.minimum, found.maximum, found.read_only) == (1, None, True)
    assert found.description == "how many\\x1b"
    descriptor = ParameterDescriptor(
        name="share",
        type=ParameterType.PARAMETER_DOUBLE,
        floating_point_range=[FloatingPointRange(from_value=-sys.float_info.max, to_value=1.0)],
    )
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=math.inf)
    found = make_row(descriptor, value)
    assert (found.minimum, found.maximum, found.value) == (None, 1.0, None)
    descriptor = ParameterDescriptor(
        name="when_full",
        type=ParameterType.PARAMETER_STRING,
        additional_constraints="expected one of drop_oldest, wait",
    )
    assert make_row(descriptor, ParameterValue()).choices == ("drop_oldest", "wait")


def test_changes() -> None:
    message = ParameterEvent(
        node="/ai/decode",
        new_parameters=[Parameter(name="at_start")],
        changed_parameters=[
            to_parameter(row("double"), 0.4),
            to_parameter(row("bool"), True),
            to_parameter(row("string[]"), ["a", "b"]),
            Parameter(name="bytes", value=ParameterValue(type=5)),
        ],
    )
    assert ParameterEventAdapter().from_bytes(serialize_message(message)) == (
        ParameterChange("/ai/decode", "limit", "0.4"),
        ParameterChange("/ai/decode", "limit", "true"),
        ParameterChange("/ai/decode", "limit", "[a, b]"),
        ParameterChange("/ai/decode", "bytes", "unknown"),
    )
    with pytest.raises(InputError, match="only receives it"):
        ParameterEventAdapter().to_bytes(())


def test_arrays_of_numbers_are_plain() -> None:
    value = ParameterValue(
        type=ParameterType.PARAMETER_DOUBLE_ARRAY, double_array_value=array("d", [1.0])
    )
    assert read_value(value) == (1.0,)

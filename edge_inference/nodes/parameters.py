"""Declares a settings class as live ROS parameters.

Every field becomes a parameter with its type, default, bounds, unit and
description. A change of several parameters is checked as a whole and then replaces
``current`` in one assignment, so a worker that reads ``current`` once per frame sees
either all of the change or none of it.
"""

from __future__ import annotations

import sys
import threading
import traceback
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    ParameterType,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.parameter import Parameter

from edge_inference.core.runtime.worker import format_error
from edge_inference.core.settings import Rule, build, change, rules
from edge_inference.core.text_line import one_line
from edge_inference.errors import ConfigError, EdgeInferenceError

if TYPE_CHECKING:
    from rclpy.node import Node

Settings = TypeVar("Settings")

_TYPES = {
    (bool, False): ParameterType.PARAMETER_BOOL,
    (int, False): ParameterType.PARAMETER_INTEGER,
    (float, False): ParameterType.PARAMETER_DOUBLE,
    (str, False): ParameterType.PARAMETER_STRING,
    (bool, True): ParameterType.PARAMETER_BOOL_ARRAY,
    (int, True): ParameterType.PARAMETER_INTEGER_ARRAY,
    (float, True): ParameterType.PARAMETER_DOUBLE_ARRAY,
    (str, True): ParameterType.PARAMETER_STRING_ARRAY,
}


# Texts that YAML reads as false and true.
_BOOLEAN_TEXTS = (("false", "off", "no"), ("true", "on", "yes"))


class NodeParameters(Generic[Settings]):
    """The parameters of one settings class on one node.

    ``defaults`` replace the declared defaults (a model folder's values).
    ``accept(settings)`` may reject a change by raising EdgeInferenceError; any other exception
    also rejects it, and is logged.
    ``on_change(settings)`` is called after each change, in the executor's thread.
    Raises ConfigError for an invalid initial value.
    """

    def __init__(
        self,
        node: Node,
        settings_class: type[Settings],
        defaults: Mapping[str, Any] | None = None,
        accept: Callable[[Settings], None] | None = None,
        on_change: Callable[[Settings], None] | None = None,
    ) -> None:
        self._node = node
        self._on_change = on_change
        self._rules = rules(settings_class)
        self._accept = accept
        self._local = threading.local()
        given = {name: rule.default for name, rule in self._rules.items()} | dict(defaults or {})
        values = {}
        for name, rule in self._rules.items():
            descriptor = _descriptor(rule)
            # An empty list has no element type in ROS; the descriptor states the type.
            initial = given[name] if given[name] != () else []
            try:
                value = node.declare_parameter(name, initial, descriptor).value
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                self._undeclare()
                raise ConfigError(
                    f"parameter {name}: expected {rule.expected()}; {error}"
                ) from error
            values[name] = _to_setting(rule, value)
        self._keep_types(self._rules)
        try:
            self.current: Settings = build(settings_class, values)
        except ConfigError as error:
            self._undeclare()
            raise ConfigError(f"parameter {error}") from error
        node.add_on_set_parameters_callback(self._on_set)
        # Without post-set callbacks (before Iron) a change applies as soon as it is checked.
        self._has_post_set = hasattr(node, "add_post_set_parameters_callback")
        if self._has_post_set:
            node.add_post_set_parameters_callback(self._on_post_set)

    def restore(self, settings: Settings) -> None:
        """Restore earlier settings, so that the parameters show the settings in use.

        They are not checked again, and ``on_change`` is not called.
        """
        changed = {
            name: getattr(settings, name)
            for name in self._rules
            if getattr(settings, name) != getattr(self.current, name)
        }
        self._local.restoring = True
        try:
            self.set(changed)
        finally:
            self._local.restoring = False

    def set(self, values: Mapping[str, Any]) -> None:
        """Change parameters from inside the node, with the same checks as from outside."""
        if values:
            self._node.set_parameters_atomically(
                [Parameter(name, value=_to_ros_value(value)) for name, value in values.items()]
            )

    def close(self) -> None:
        """Undeclare the parameters."""
        self._node.remove_on_set_parameters_callback(self._on_set)
        if self._has_post_set:
            self._node.remove_post_set_parameters_callback(self._on_post_set)
        self._undeclare()

    def _undeclare(self) -> None:
        for name in self._rules:
            if self._node.has_parameter(name):
                # Read-only applies to users; the node itself must undeclare its parameters.
                self._node.describe_parameter(name).read_only = False
                self._node.undeclare_parameter(name)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        self._keep_types(parameter.name for parameter in parameters)
        try:
            changed = self._change(parameters)
            if changed is not None and self._accept is not None and not self._is_restoring():
                self._accept(changed)
        except EdgeInferenceError as error:
            return SetParametersResult(successful=False, reason=one_line(str(error)))
        except Exception as error:  # an exception here would leave the client without a response
            self._node.get_logger().error(traceback.format_exc())
            reason = f"the check failed: {format_error(error)}"
            return SetParametersResult(successful=False, reason=one_line(reason))
        if changed is not None and not self._has_post_set:
            self.current = changed
            executor = self._node.executor
            if executor is None:
                self._notify(changed)
            elif not self._is_restoring():
                # After the node has set the values, because on_change may restore the old ones.
                executor.create_task(self._notify, changed)
        return SetParametersResult(successful=True)

    def _on_post_set(self, parameters: list[Parameter]) -> None:
        changed = self._change(parameters)
        if changed is not None:
            self.current = changed
            self._notify(changed)

    def _notify(self, settings: Settings) -> None:
        if self._on_change is not None and not self._is_restoring():
            self._on_change(settings)

    def _is_restoring(self) -> bool:
        """Tell whether this thread is restoring the parameters."""
        return getattr(self._local, "restoring", False)

    def _keep_types(self, names: Iterable[str]) -> None:
        """Restore the declared types, because rclpy describes the type of the last value."""
        for name in set(names) & self._rules.keys():
            rule = self._rules[name]
            self._node.describe_parameter(name).type = _TYPES[rule.type, rule.is_list]

    def _change(self, parameters: list[Parameter]) -> Settings | None:
        ours = {}
        for parameter in parameters:
            rule = self._rules.get(parameter.name)
            if rule is None:
                continue
            if parameter.type_ == Parameter.Type.NOT_SET:
                raise ConfigError(f"{rule.name}: expected {rule.expected()}, got no value")
            ours[rule.name] = _to_setting(rule, parameter.value)
        return change(self.current, ours) if ours else None


def _descriptor(rule: Rule) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=rule.name,
        type=_TYPES[rule.type, rule.is_list],
        description=rule.description + (f" [{rule.unit}]" if rule.unit else ""),
        additional_constraints=f"expected {rule.expected()}",
        read_only=rule.read_only,
        # The checks of this class return a sentence, and accept 1 for 1.0, which ROS rejects.
        dynamic_typing=True,
    )
    if rule.minimum is None and rule.maximum is None:
        return descriptor
    if rule.type is int:
        low = -(2**63) if rule.minimum is None else int(rule.minimum)
        high = 2**63 - 1 if rule.maximum is None else int(rule.maximum)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif rule.type is float:
        low_float = -sys.float_info.max if rule.minimum is None else float(rule.minimum)
        high_float = sys.float_info.max if rule.maximum is None else float(rule.maximum)
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=low_float, to_value=high_float)
        ]
    return descriptor


def _to_setting(rule: Rule, value: Any) -> Any:
    """Convert a ROS value to the rule's type, where YAML read a text as another type."""
    if rule.is_list:
        return tuple(value) if isinstance(value, (list, array)) else value
    if rule.type is str and isinstance(value, bool):
        texts = _BOOLEAN_TEXTS[value]
        return next((text for text in texts if text in rule.choices), texts[0])
    if rule.type is str and isinstance(value, (int, float)):
        return str(value)
    return value


def _to_ros_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

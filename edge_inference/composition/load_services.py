"""The standard services of a component container, for ``ros2 component`` and launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter, parameter_value_to_python

from edge_inference.core.settings import suggestion
from edge_inference.errors import ConfigError, EdgeInferenceError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container

_LOG_LEVELS = {10: "debug", 20: "info", 30: "warn", 40: "error", 50: "fatal"}
#: Accepted extra arguments. Only autostart has an effect; launch files pass the other two to every
#: component, but objects are always passed by reference and global arguments are never used.
_EXTRA_ARGUMENTS = ("autostart", "use_intra_process_comms", "forward_global_arguments")


def add_load_services(container: Container) -> bool:
    """Add ``~/_container/{load,unload,list}_node(s)``; False without composition_interfaces."""
    try:
        from composition_interfaces.srv import ListNodes, LoadNode, UnloadNode
    except ImportError:
        return False

    def load_node(request: Any, response: Any) -> Any:
        try:
            component = container.load(
                f"{request.package_name}::{request.plugin_name.rpartition('::')[2]}",
                make_node_arguments(request),
                autostart=read_autostart(request),
                overrides=[Parameter.from_parameter_msg(p) for p in request.parameters],
            )
        except Exception as error:
            # Without a response the caller would wait for ever.
            container.node.get_logger().error(str(error))
            response.success, response.error_message = False, str(error)
            return response
        response.success = True
        response.full_node_name = component.full_name
        response.unique_id = component.id
        return response

    def unload_node(request: Any, response: Any) -> Any:
        try:
            container.unload(request.unique_id)
        except EdgeInferenceError as error:
            response.success, response.error_message = False, str(error)
            return response
        response.success = True
        return response

    def list_nodes(request: Any, response: Any) -> Any:
        del request
        response.full_node_names = [component.full_name for component in container.components]
        response.unique_ids = [component.id for component in container.components]
        return response

    container.node.create_service(LoadNode, "~/_container/load_node", load_node)
    container.node.create_service(UnloadNode, "~/_container/unload_node", unload_node)
    container.node.create_service(ListNodes, "~/_container/list_nodes", list_nodes)
    return True


def read_autostart(request: Any) -> bool:
    """Return the extra argument autostart; raises ConfigError for unknown or invalid arguments."""
    extra = {p.name: parameter_value_to_python(p.value) for p in request.extra_arguments}
    for name in extra:
        if name not in _EXTRA_ARGUMENTS:
            raise ConfigError(
                f"unknown extra argument {name!r}{suggestion(name, _EXTRA_ARGUMENTS)}"
            )
    autostart = extra.get("autostart", True)
    if not isinstance(autostart, bool):
        raise ConfigError(f"extra argument autostart: expected true or false, got {autostart!r}")
    return autostart


def make_node_arguments(request: Any) -> list[str]:
    """Return the ROS arguments of a request; raises ConfigError for an unknown log level."""
    arguments = ["--ros-args"]
    if request.node_name:
        arguments += ["-r", f"__node:={request.node_name}"]
    if request.node_namespace:
        arguments += ["-r", f"__ns:={request.node_namespace}"]
    for rule in request.remap_rules:
        arguments += ["-r", rule]
    if request.log_level:
        if request.log_level not in _LOG_LEVELS:
            known = ", ".join(f"{number} ({name})" for number, name in _LOG_LEVELS.items())
            raise ConfigError(f"log_level: expected 0 or {known}, got {request.log_level}")
        arguments += ["--log-level", _LOG_LEVELS[request.log_level]]
    return arguments

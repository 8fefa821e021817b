"""The container's standard services, so that ``ros2 component`` and launch can talk to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.parameter import Parameter, parameter_value_to_python

from edge_inference.errors import EdgeInferenceError

if TYPE_CHECKING:
    from edge_inference.composition.container import Container


def add_load_services(container: Container) -> bool:
    """Offer ``~/_container/{load,unload,list}_node(s)``; False without composition_interfaces."""
    try:
        from composition_interfaces.srv import ListNodes, LoadNode, UnloadNode
    except ImportError:
        return False

    def load(request: Any, response: Any) -> Any:
        try:
            extra = {p.name: parameter_value_to_python(p.value) for p in request.extra_arguments}
            component = container.load(
                f"{request.package_name}::{request.plugin_name.rpartition('::')[2]}",
                _node_arguments(request),
                autostart=bool(extra.get("autostart", True)),
                overrides=[Parameter.from_parameter_msg(p) for p in request.parameters],
            )
        except Exception as error:
            # Without an answer the caller would wait for ever.
            container.node.get_logger().error(str(error))
            response.success, response.error_message = False, str(error)
            return response
        response.success = True
        response.full_node_name = component.full_name
        response.unique_id = component.id
        return response

    def unload(request: Any, response: Any) -> Any:
        try:
            container.unload(request.unique_id)
        except EdgeInferenceError as error:
            response.success, response.error_message = False, str(error)
            return response
        response.success = True
        return response

    def listing(request: Any, response: Any) -> Any:
        del request
        response.full_node_names = [component.full_name for component in container.components]
        response.unique_ids = [component.id for component in container.components]
        return response

    container.node.create_service(LoadNode, "~/_container/load_node", load)
    container.node.create_service(UnloadNode, "~/_container/unload_node", unload)
    container.node.create_service(ListNodes, "~/_container/list_nodes", listing)
    return True


def _node_arguments(request: Any) -> list[str]:
    arguments = ["--ros-args"]
    if request.node_name:
        arguments += ["-r", f"__node:={request.node_name}"]
    if request.node_namespace:
        arguments += ["-r", f"__ns:={request.node_namespace}"]
    for rule in request.remap_rules:
        arguments += ["-r", rule]
    if request.log_level:
        names = {10: "debug", 20: "info", 30: "warn", 40: "error", 50: "fatal"}
        arguments += ["--log-level", names.get(request.log_level, "info")]
    return arguments

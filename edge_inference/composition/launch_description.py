"""The launch description of a pipeline: its containers, or one process for each node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.composition.parameter_format import format_value
from edge_inference.composition.pipeline import (
    DEFAULT_NAMESPACE,
    ComponentDescription,
    Pipeline,
    load_pipeline,
    share_folder,
)
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError

if TYPE_CHECKING:
    from launch.actions import ExecuteProcess
    from launch_ros.actions import Node

    from launch import LaunchContext, LaunchDescription

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
# The name before Kilted; Kilted warns about it.
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
OLD_DISTROS = ("humble", "iron", "jazzy")
BOOLEANS = ("composed", "use_sim_time", "autostart", "respawn")

COMMON_ARGUMENTS = (
    ("params_file", "", "Parameter file for the nodes; arguments that are set override it"),
    ("namespace", "", "Prefix of the names of all nodes and relative topics"),
    ("composed", "true", "true: nodes share a process; false: one process for each node"),
    ("log_level", "info", "debug, info, warn, error or fatal; <logger>:=<level> for one logger"),
    ("use_sim_time", "false", "true uses the time from /clock"),
    ("autostart", "true", "false leaves the nodes unconfigured, for a lifecycle manager"),
    ("respawn", "false", "true restarts a process that has died"),
)


CONTAINERS = "containers"
DASHBOARD, DASHBOARD_PORT = "dashboard", "dashboard_port"
DASHBOARD_ARGUMENTS = (
    (DASHBOARD, "false", "true shows the robot in a browser, from a process of its own"),
    (DASHBOARD_PORT, "8080", "Port of the dashboard, which only this machine reaches"),
)
_MAX_PORT = 65535


def describe_pipeline(name: str, *, has_dashboard: bool = False) -> LaunchDescription:
    """Declare the arguments of a pipeline and the common ones, and start its nodes.

    ``name`` is the name of a file in ``config/pipelines``. ``has_dashboard`` adds the arguments
    that start a dashboard beside it. Raises ConfigError.
    """
    # Imported here, because workstations do not have the launch packages.
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    from launch import LaunchDescription

    pipeline = load_pipeline(name)
    entries = [(item.name, item.default, item.description) for item in pipeline.arguments]
    entries += COMMON_ARGUMENTS
    if pipeline.containers:
        entries.append((CONTAINERS, str(len(pipeline.containers)), _describe_containers(pipeline)))
    if has_dashboard:
        entries += DASHBOARD_ARGUMENTS
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(argument, default_value=default, description=description)
                for argument, default, description in entries
            ),
            OpaqueFunction(function=_make_nodes, args=[pipeline]),
            *([OpaqueFunction(function=_make_dashboard)] if has_dashboard else []),
        ]
    )


def _make_nodes(context: LaunchContext, pipeline: Pipeline) -> list[Node]:
    """Create the processes from the values of the arguments."""
    from launch_ros.actions import Node

    values = {name: context.launch_configurations[name] for name, *_ in COMMON_ARGUMENTS}
    flags = {name: _parse_flag(name, values[name]) for name in BOOLEANS}
    user_set = {
        item.name: context.launch_configurations[item.name]
        for item in pipeline.arguments
        if context.launch_configurations[item.name] != item.default
    }
    namespace = _resolve_namespace(context, values["namespace"])
    sim_time = ["-p", "use_sim_time:=true"] if flags["use_sim_time"] else []
    common = {
        "output": "screen",
        "additional_env": _select_profile(context),
        "respawn": flags["respawn"],
        "respawn_delay": 2.0,
        "parameters": _check_parameter_files(values["params_file"]),
    }
    ros_arguments = ["--log-level", values["log_level"], *sim_time]
    program_arguments = [] if flags["autostart"] else ["--no-autostart"]
    components = pipeline.components(user_set, namespace)
    if flags["composed"]:
        for name, value in user_set.items():
            program_arguments += ["--argument", f"{name}:={value}"]
        return [
            Node(
                package="edge_inference",
                executable="component_container",
                namespace=namespace,
                arguments=["--pipeline", pipeline.name, *container_arguments, *program_arguments],
                ros_arguments=ros_arguments,
                **common,
            )
            for container_arguments in _make_container_arguments(context, pipeline)
        ]
    return [
        Node(
            package=component.package,
            executable=component.executable,
            name=component.name,
            namespace=component.namespace,
            remappings=list(component.remappings.items()),
            arguments=[*program_arguments, *_make_user_arguments(component)],
            ros_arguments=[*ros_arguments, *_make_parameter_arguments(component)],
            **common,
        )
        for component in components
        if not component.composed_only
    ]


def _make_dashboard(context: LaunchContext) -> list[ExecuteProcess]:
    """Create the process of the dashboard, which says itself why it cannot run.

    The pipeline goes on without it.
    """
    from launch.actions import ExecuteProcess
    from launch_ros.substitutions import ExecutableInPackage

    if not _parse_flag(DASHBOARD, context.launch_configurations[DASHBOARD]):
        return []
    port = context.launch_configurations[DASHBOARD_PORT]
    if not port.isdecimal() or int(port) > _MAX_PORT:
        raise ConfigError(f"{DASHBOARD_PORT}: expected a port from 0 to {_MAX_PORT}, got {port!r}")
    namespace = _resolve_namespace(context, context.launch_configurations["namespace"])
    return [
        ExecuteProcess(
            cmd=[
                ExecutableInPackage(executable="edge-inference", package="edge_inference"),
                "dashboard",
                "--namespace",
                f"{namespace.rstrip('/')}/{DEFAULT_NAMESPACE}",
                "--port",
                port,
            ],
            output="screen",
            additional_env=_select_profile(context),
        )
    ]


def _describe_containers(pipeline: Pipeline) -> str:
    """Describe the argument for the number of containers."""
    names = ", ".join(pipeline.containers)
    return f"{len(pipeline.containers)}: one process each for {names}; 1: all nodes in one process"


def _make_container_arguments(context: LaunchContext, pipeline: Pipeline) -> list[list[str]]:
    """Return the command line arguments that select the container, for each container."""
    if not pipeline.containers:
        return [[]]
    number, most = context.launch_configurations[CONTAINERS], str(len(pipeline.containers))
    if number not in ("1", most):
        raise ConfigError(f"{CONTAINERS}: expected 1 or {most}, got {number!r}")
    return [["--container", name] for name in pipeline.containers] if number == most else [[]]


def _resolve_namespace(context: LaunchContext, namespace: str) -> str:
    """Prefix a relative namespace with the one from PushRosNamespace."""
    pushed = "" if namespace.startswith("/") else context.launch_configurations.get("ros_namespace")
    return "/" + "/".join(part.strip("/") for part in (pushed, namespace) if part)


def _make_parameter_arguments(component: ComponentDescription) -> list[str]:
    """Return the values of the description, which a parameter file overrides."""
    pairs = (f"{name}:={format_value(value)}" for name, value in component.parameters.items())
    return [word for pair in pairs for word in ("-p", pair)]


def _make_user_arguments(component: ComponentDescription) -> list[str]:
    """Return the values of arguments that the user set, which override a parameter file."""
    pairs = (
        f"{name}:={format_value(value)}"
        for name, value in component.parameters.items()
        if name in component.user_set
    )
    return [word for pair in pairs for word in ("--set", pair)]


def _select_profile(context: LaunchContext) -> dict[str, str]:
    """Return the variable for the shipped Fast DDS profile, unless the user has set one."""
    environment = context.environment
    if environment.get(PROFILE_VARIABLE) or environment.get(OLD_PROFILE_VARIABLE):
        return {}
    is_old = environment.get("ROS_DISTRO") in OLD_DISTROS
    variable = OLD_PROFILE_VARIABLE if is_old else PROFILE_VARIABLE
    return {variable: str(share_folder() / "config" / "fastdds.xml")}


def _check_parameter_files(text: str) -> list[str]:
    """Return the parameter files; raises ConfigError for a missing file, which launch ignores."""
    if not text:
        return []
    file = Path(text).expanduser().absolute()
    if not is_regular_file(file):
        raise ConfigError(f"params_file: expected a file, but {file} does not exist")
    load_yaml(file)  # reports an error once, before each node does
    return [str(file)]


def _parse_flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(f"{name}: expected true or false, got {text!r}")
    return text.lower() in ("true", "1")

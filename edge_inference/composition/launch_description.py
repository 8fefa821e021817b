"""A pipeline description as ``ros2 launch`` sees it: its containers, or one process a node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.composition.parameter_format import format_value
from edge_inference.composition.pipeline import (
    ComponentDescription,
    Pipeline,
    load_pipeline,
    share_folder,
)
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError

if TYPE_CHECKING:
    from launch_ros.actions import Node

    from launch import LaunchContext, LaunchDescription

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
# What it was called before Kilted, which warns about it.
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
OLD_DISTROS = ("humble", "iron", "jazzy")
BOOLEANS = ("composed", "use_sim_time", "autostart", "respawn")

OWN_ARGUMENTS = (
    ("params_file", "", "Parameter file for the nodes; arguments given here hold against it"),
    ("namespace", "", "Goes before the names of all nodes and relative topics"),
    ("composed", "true", "true: nodes share a process; false: one process a node"),
    ("log_level", "info", "debug, info, warn, error or fatal; <logger>:=<level> for one logger"),
    ("use_sim_time", "false", "true takes the time from /clock"),
    ("autostart", "true", "false leaves the nodes unconfigured, for a lifecycle manager"),
    ("respawn", "false", "true starts a process that died again"),
)


CONTAINERS = "containers"


def describe_pipeline(name: str) -> LaunchDescription:
    """Declare the pipeline's arguments and our own; the nodes follow from their values.

    ``name`` is that of a file in ``config/pipelines``. Raises ConfigError.
    """
    # The launch packages are on robots and not on workstations.
    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    from launch import LaunchDescription

    pipeline = load_pipeline(name)
    entries = [(item.name, item.default, item.description) for item in pipeline.arguments]
    entries += OWN_ARGUMENTS
    if pipeline.containers:
        entries.append((CONTAINERS, str(len(pipeline.containers)), _choice(pipeline)))
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(argument, default_value=default, description=description)
                for argument, default, description in entries
            ),
            OpaqueFunction(function=_start, args=[pipeline]),
        ]
    )


def _start(context: LaunchContext, pipeline: Pipeline) -> list[Node]:
    """Make the processes from the arguments' values."""
    from launch_ros.actions import Node

    values = {name: context.launch_configurations[name] for name, *_ in OWN_ARGUMENTS}
    flags = {name: _flag(name, values[name]) for name in BOOLEANS}
    given = {
        item.name: context.launch_configurations[item.name]
        for item in pipeline.arguments
        if context.launch_configurations[item.name] != item.default
    }
    namespace = _whole_namespace(context, values["namespace"])
    sim_time = ["-p", "use_sim_time:=true"] if flags["use_sim_time"] else []
    common = {
        "output": "screen",
        "additional_env": _profile(context),
        "respawn": flags["respawn"],
        "respawn_delay": 2.0,
        "parameters": _parameter_files(values["params_file"]),
    }
    ros_arguments = ["--log-level", values["log_level"], *sim_time]
    own = [] if flags["autostart"] else ["--no-autostart"]
    components = pipeline.components(given, namespace)
    if flags["composed"]:
        for name, value in given.items():
            own += ["--argument", f"{name}:={value}"]
        return [
            Node(
                package="edge_inference",
                executable="component_container",
                namespace=namespace,
                arguments=["--pipeline", pipeline.name, *which, *own],
                ros_arguments=ros_arguments,
                **common,
            )
            for which in _containers(context, pipeline)
        ]
    return [
        Node(
            package=component.package,
            executable=component.executable,
            name=component.name,
            namespace=component.namespace,
            remappings=list(component.remappings.items()),
            arguments=[*own, *_given(component)],
            ros_arguments=[*ros_arguments, *_described(component)],
            **common,
        )
        for component in components
    ]


def _choice(pipeline: Pipeline) -> str:
    """Say what the number of containers chooses."""
    names = ", ".join(pipeline.containers)
    return f"{len(pipeline.containers)}: a process each for {names}; 1: all nodes in one process"


def _containers(context: LaunchContext, pipeline: Pipeline) -> list[list[str]]:
    """Return the words that tell each container which one it is."""
    if not pipeline.containers:
        return [[]]
    number, most = context.launch_configurations[CONTAINERS], str(len(pipeline.containers))
    if number not in ("1", most):
        raise ConfigError(f"{CONTAINERS}: expected 1 or {most}, got {number!r}")
    return [["--container", name] for name in pipeline.containers] if number == most else [[]]


def _whole_namespace(context: LaunchContext, namespace: str) -> str:
    """Put what PushRosNamespace has pushed before a relative namespace."""
    pushed = "" if namespace.startswith("/") else context.launch_configurations.get("ros_namespace")
    return "/" + "/".join(part.strip("/") for part in (pushed, namespace) if part)


def _described(component: ComponentDescription) -> list[str]:
    """Give the description's own values, which come before any file's."""
    pairs = (f"{name}:={format_value(value)}" for name, value in component.parameters.items())
    return [word for pair in pairs for word in ("-p", pair)]


def _given(component: ComponentDescription) -> list[str]:
    """Give the values of arguments that the user set, which hold against any file's."""
    pairs = (
        f"{name}:={format_value(value)}"
        for name, value in component.parameters.items()
        if name in component.given
    )
    return [word for pair in pairs for word in ("--set", pair)]


def _profile(context: LaunchContext) -> dict[str, str]:
    """Choose the shipped Fast DDS profile, unless the user has chosen one."""
    environment = context.environment
    if environment.get(PROFILE_VARIABLE) or environment.get(OLD_PROFILE_VARIABLE):
        return {}
    is_old = environment.get("ROS_DISTRO") in OLD_DISTROS
    variable = OLD_PROFILE_VARIABLE if is_old else PROFILE_VARIABLE
    return {variable: str(share_folder() / "config" / "fastdds.xml")}


def _parameter_files(text: str) -> list[str]:
    """Refuse a file that does not exist; launch would go on without it."""
    if not text:
        return []
    file = Path(text).expanduser().absolute()
    if not is_regular_file(file):
        raise ConfigError(f"params_file: {file} does not exist")
    load_yaml(file)  # says in one sentence what each node would say
    return [str(file)]


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ConfigError(f"{name}: expected true or false, got {text!r}")
    return text.lower() in ("true", "1")

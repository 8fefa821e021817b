"""A process that hosts components: the container executable, and every node's own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

from edge_inference.composition.container import Container
from edge_inference.composition.load_services import add_load_services
from edge_inference.composition.pipeline import ComponentDescription, load_pipeline
from edge_inference.errors import ConfigError, EdgeInferenceError


def run_container(arguments: Sequence[str]) -> int:
    """Host components: those of a pipeline, and those asked for over the load services."""
    parser = argparse.ArgumentParser(
        prog="component_container",
        description="Hosts components in one process; ROS arguments follow --ros-args.",
    )
    parser.add_argument("--pipeline", help="load this pipeline's components at the start")
    parser.add_argument(
        "--argument", action="append", default=[], metavar="NAME:=VALUE", help="for the pipeline"
    )
    parser.add_argument(
        "--namespace", default="", help="before the names of the pipeline's components"
    )
    parser.add_argument("--params-file", default="", help="parameters of the pipeline's components")
    parser.add_argument("--use-sim-time", action="store_true", help="their time comes from /clock")
    parser.add_argument("--no-autostart", action="store_true", help="leave them unconfigured")
    own, ros = _split(arguments)
    options = parser.parse_args(own)
    extra = ["-p", "use_sim_time:=true"] if options.use_sim_time else []

    def fill(container: Container) -> None:
        if options.pipeline:
            pipeline = load_pipeline(options.pipeline)
            components = pipeline.components(_assignments(options.argument), options.namespace)
            load_all(
                container,
                components,
                options.params_file,
                extra,
                autostart=not options.no_autostart,
            )

    return _host("component_container", ros, fill)


def run_component(plugin: str, arguments: Sequence[str]) -> int:
    """Host one component alone; ``arguments`` are its ROS arguments."""
    parser = argparse.ArgumentParser(prog=plugin, description=f"Runs {plugin} in its own process.")
    parser.add_argument("--no-autostart", action="store_true", help="leave it unconfigured")
    own, ros = _split(arguments)
    options = parser.parse_args(own)

    def fill(container: Container) -> None:
        container.load(plugin, ros, autostart=not options.no_autostart)

    # A leading underscore hides the host itself from `ros2 node list`.
    return _host(f"_{plugin.rpartition('::')[2].lower()}_host", ros, fill, own_arguments=[])


def load_all(
    container: Container,
    components: Sequence[ComponentDescription],
    params_file: str = "",
    extra: Sequence[str] = (),
    autostart: bool = True,
) -> list[str]:
    """Load a pipeline's components; log those that fail and return their messages."""
    failures = []
    for component in components:
        arguments = [*component.node_arguments(params_file), *extra]
        try:
            container.load(component.plugin, arguments, autostart=autostart)
        except EdgeInferenceError as error:
            container.node.get_logger().error(f"{component.name}: {error}")
            failures.append(f"{component.name}: {error}")
    return failures


@contextmanager
def hosted(
    name: str,
    ros_arguments: Sequence[str] = (),
    own_arguments: Sequence[str] | None = None,
    handle_signals: bool = True,
) -> Iterator[Container]:
    """Give a container on a context of its own; both are gone afterwards.

    ``ros_arguments`` hold for the process (log level); ``own_arguments`` for the
    container's node, the same ones by default. With ``handle_signals`` SIGINT
    and SIGTERM end the context; without, they are the caller's.
    """
    context = Context()
    signals = SignalHandlerOptions.ALL if handle_signals else SignalHandlerOptions.NO
    rclpy.init(args=list(ros_arguments), context=context, signal_handler_options=signals)
    try:
        container = Container(
            context, name, ros_arguments if own_arguments is None else own_arguments
        )
        try:
            yield container
        finally:
            container.close()
    finally:
        context.try_shutdown()
        context.destroy()


def _host(
    name: str,
    ros_arguments: Sequence[str],
    fill: Callable[[Container], None],
    own_arguments: Sequence[str] | None = None,
) -> int:
    try:
        with hosted(name, ros_arguments, own_arguments) as container:
            add_load_services(container)
            fill(container)
            container.spin()
    except EdgeInferenceError as error:
        sys.stderr.write(f"{name.strip('_')}: {error}\n")
        return 1
    return 0


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell a program's own arguments from ROS's, which run from --ros-args to -- or the end."""
    own: list[str] = []
    ros: list[str] = []
    target = own
    for argument in arguments:
        if argument == "--ros-args":
            target = ros
        target.append(argument)
        if argument == "--" and target is ros:
            target = own
    return own, ros


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    values = {}
    for text in texts:
        name, separator, value = text.partition(":=")
        if not separator:
            raise ConfigError(f"argument {text!r}: expected name:=value")
        values[name] = value
    return values

"""Processes that host components: the container executable, and the executable of each node."""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from edge_inference.composition.container import Container
from edge_inference.composition.load_services import add_load_services
from edge_inference.composition.log_directory import find_log_problem
from edge_inference.composition.parameter_format import parse_value
from edge_inference.composition.pipeline import ComponentDescription, load_pipeline
from edge_inference.core.bounded_file import MAX_TEXT_BYTES, open_regular_file
from edge_inference.core.runtime.signal_watchdog import note_handler_call, watch_signals
from edge_inference.core.text_line import one_line
from edge_inference.core.yaml_file import load_yaml
from edge_inference.errors import ConfigError, EdgeInferenceError

_REMAP = ("-r", "--remap")
#: A signal waits this long for a component that is loading, then for unloading the others.
_LOADING_TIMEOUT_S, _UNLOADING_TIMEOUT_S = 1.0, 0.5
#: The exit code after a signal is this plus the number of the signal.
_SIGNAL_EXIT_CODE = 128
#: The deadline for unloading all components, on a busy machine; after it the stacks are dumped.
_EXIT_DEADLINE_S, _STDERR = 30.0, 2
_NAME_RULE = re.compile(r"([^:]*:)?__(node|name|ns):=")
_PARAMETER_FILE, _LOG_FILE = "--params-file", "--log-config-file"
_NO_LOG_OPTION = "--disable-external-lib-logs"
#: The place in the middleware's source that it appends to its error messages.
_SOURCE_LINE = re.compile(r", at [^,\s]+:\d+\b")


def run_container(arguments: Sequence[str]) -> int:
    """Host the components of a pipeline, and those loaded by the load services."""
    parser = argparse.ArgumentParser(
        prog="component_container",
        description="Hosts components in one process.",
        epilog="ROS arguments follow --ros-args. Parameters and remaps also apply to the "
        "pipeline's components; the container's namespace is the prefix of theirs.",
    )
    parser.add_argument("--pipeline", help="load the components of this pipeline at the start")
    parser.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="argument of the pipeline",
    )
    parser.add_argument(
        "--container",
        default="",
        metavar="NAME",
        help="load only the components of this container of the pipeline, and take its name",
    )
    _add_autostart(parser)
    own, ros = _split_ros_arguments(arguments)
    options = parser.parse_args(own)

    def fill(container: Container, is_stopped: Callable[[], bool]) -> None:
        add_load_services(container)
        if options.pipeline:
            components = load_pipeline(options.pipeline).components(
                _parse_assignments(options.argument),
                container.node.get_namespace(),
                container=options.container,
            )
            rules, others = _split_rules(ros)
            shared = [rule for rule in rules if not _NAME_RULE.match(rule)]
            extra = _make_arguments(shared, others)
            load_components(
                container,
                components,
                extra=extra,
                autostart=options.autostart,
                is_stopped=is_stopped,
            )
        elif options.container:
            raise ConfigError(f"--container {options.container}: needs --pipeline")

    return _run_host(options.container or "component_container", ros, fill)


def run_component(plugin: str, arguments: Sequence[str]) -> int:
    """Host a single component; ``arguments`` include its ROS arguments."""
    parser = argparse.ArgumentParser(
        prog=plugin,
        description=f"Runs {plugin} in its own process.",
        epilog="ROS arguments follow --ros-args.",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="a parameter that overrides parameter files, as a launch argument does",
    )
    _add_autostart(parser)
    own, ros = _split_ros_arguments(arguments)
    options = parser.parse_args(own)

    def fill(container: Container, is_stopped: Callable[[], bool]) -> None:
        del is_stopped  # there is one component
        values = {name: parse_value(text) for name, text in _parse_assignments(options.set).items()}
        container.load(plugin, ros, options.autostart, _make_parameters(values))

    # A leading underscore hides the container's node from `ros2 node list`.
    class_name = plugin.rpartition("::")[2].lower()
    place = [rule for rule in _split_rules(ros)[0] if rule.startswith("__ns:=")]
    return _run_host(f"_{class_name}_host", ros, fill, _make_arguments(place))


def load_components(
    container: Container,
    components: Sequence[ComponentDescription],
    params_file: str = "",
    extra: Sequence[str] = (),
    autostart: bool = True,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Load the components of a pipeline; log the errors and return them.

    ``extra`` are ROS arguments for all components. Values that the user set by arguments of
    the pipeline override ``params_file`` and ``extra``, which override the values of the
    description. Stops when ``is_stopped`` returns True.
    """
    rules, others = _split_rules(extra)
    failures = []
    for component in components:
        if is_stopped():
            break
        # The first matching remap and the last value of a parameter take effect.
        arguments = [*_make_arguments(rules), *component.node_arguments(params_file), *others]
        overrides = _make_parameters(
            {
                name: component.parameters[name]
                for name in component.user_set & {*component.parameters}
            }
        )
        try:
            container.load(component.plugin, arguments, autostart, overrides)
        except EdgeInferenceError as error:
            container.node.get_logger().error(f"{component.name}: {error}")
            failures.append(f"{component.name}: {error}")
    return failures


@contextmanager
def open_container(
    name: str,
    ros_arguments: Sequence[str] = (),
    own_arguments: Sequence[str] | None = None,
) -> Iterator[Container]:
    """Yield a container on its own context; both are closed afterwards.

    ``ros_arguments`` apply to the process (log level), ``own_arguments`` to the
    container's node; the default is the same ones. Signals are left to the caller.
    Raises ConfigError if ROS does not start, or for a file in the arguments that
    cannot be read.
    """
    _check_files(ros_arguments)
    # Checked before ROS does, because some releases print their own message as well.
    log_problem = None if _NO_LOG_OPTION in ros_arguments else find_log_problem()
    if log_problem is not None:
        raise ConfigError(log_problem)
    context = Context()
    try:
        rclpy.init(
            args=list(ros_arguments),
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except rclpy_implementation.UnknownROSArgsError as error:
        raise ConfigError(f"ROS does not know these arguments: {one_line(str(error))}") from error
    except (RuntimeError, UnicodeError) as error:  # RCLError is a RuntimeError
        raise ConfigError(
            f"ROS does not start with these arguments: {_format_reason(error)}"
        ) from error
    try:
        own = ros_arguments if own_arguments is None else own_arguments
        try:
            container = Container(context, name, own)
        except rclpy_implementation.RCLError as error:
            # The first node creates the DDS participant, which needs the profile, SROS 2 and the
            # network.
            raise ConfigError(f"ROS does not start: {_format_reason(error)}") from error
        try:
            yield container
        finally:
            with _exit_deadline():
                container.close()
    finally:
        with _exit_deadline():
            context.try_shutdown()
            context.destroy()


@contextmanager
def _exit_deadline() -> Iterator[None]:
    """Exit the process if the block does not end in time: Fast DDS discovery may deadlock.

    It deadlocks while it holds the GIL, so a Python thread could not exit the process.
    """
    faulthandler.dump_traceback_later(_EXIT_DEADLINE_S, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _run_host(
    name: str,
    ros_arguments: Sequence[str],
    fill: Callable[[Container, Callable[[], bool]], None],
    own_arguments: Sequence[str] | None = None,
) -> int:
    try:
        with (
            open_container(name, ros_arguments, own_arguments) as container,
            _stop_on_signals(container) as (is_stopped, is_filled),
        ):
            fill(container, is_stopped.is_set)
            is_filled.set()
            container.spin()
    except EdgeInferenceError as error:
        sys.stderr.write(f"{name.strip('_')}: {one_line(str(error))}\n")
        return 1
    return 0


@contextmanager
def _stop_on_signals(container: Container) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Stop spinning on SIGINT and SIGTERM while the context is valid, so that components clean up.

    rclpy's own handler would shut down the context first. Yields two events: the first is set by
    a signal, the caller sets the second when the container is filled. A component may take minutes
    to load, in a library where no Python signal handler runs; a signal does not wait for it.
    """
    is_stopped, is_filled = threading.Event(), threading.Event()

    def end(number: int) -> None:
        container.stop()
        if not is_filled.wait(_LOADING_TIMEOUT_S):
            _exit_while_loading(container, number)

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        note_handler_call()
        is_stopped.set()
        # In a thread, because the handler may have interrupted the holder of a lock that stop()
        # needs.
        threading.Thread(target=end, args=(number,), daemon=True).start()

    def exit_process(number: int) -> None:
        container.stop()
        _exit_while_loading(container, number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        with watch_signals(exit_process, _LOADING_TIMEOUT_S):
            yield is_stopped, is_filled
    finally:
        is_filled.set()
        # A terminal and ros2 launch each send SIGINT: the second must not interrupt the cleanup.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit_while_loading(container: Container, number: int) -> None:
    """Exit the process while a component is still loading, after unloading the others."""

    def unload() -> None:
        for component in container.components[:-1]:
            container.unload(component.id)

    unloading = threading.Thread(target=unload, daemon=True)
    unloading.start()
    unloading.join(_UNLOADING_TIMEOUT_S)
    os._exit(_SIGNAL_EXIT_CODE + number)


def _add_autostart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-autostart",
        dest="autostart",
        action="store_false",
        help="leave the nodes unconfigured",
    )


def _split_ros_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into the program's and those of ROS, from --ros-args to -- or the end."""
    own: list[str] = []
    ros: list[str] = []
    target = own
    for argument in arguments:
        if argument == "--ros-args":
            target = ros
        elif argument == "--" and target is ros:
            target = own
        else:
            target.append(argument)
    return own, ["--ros-args", *ros] if ros else []


def _split_rules(ros: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split ROS arguments into remapping rules, without the option, and the other arguments."""
    rules: list[str] = []
    others: list[str] = []
    remaining = iter(ros)
    for argument in remaining:
        if argument in _REMAP:
            rules += itertools.islice(remaining, 1)
        elif argument != "--ros-args":
            others.append(argument)
    return rules, others


def _check_files(ros: Sequence[str]) -> None:
    """Raise ConfigError for a file that is not regular or is too large; ROS reads any file."""
    for option, name in itertools.pairwise(ros):
        try:
            if option == _PARAMETER_FILE:
                load_yaml(Path(name))
            elif option == _LOG_FILE:
                open_regular_file(Path(name), MAX_TEXT_BYTES).close()
        except ConfigError as error:
            raise ConfigError(f"{option} {error}") from error
        except OSError as error:
            raise ConfigError(f"{option} {name}: cannot be read: {error.strerror}") from error


def _format_reason(error: Exception) -> str:
    """Return the message of ROS without the place in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return one_line(_SOURCE_LINE.sub("", lines[0]))


def _make_arguments(rules: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    return ["--ros-args", *(argument for rule in rules for argument in ("-r", rule)), *others]


def _make_parameters(values: Mapping[str, Any]) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]


def _parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    values = {}
    for text in texts:
        name, separator, value = text.partition(":=")
        if not separator:
            raise ConfigError(f"{text!r}: expected name:=value")
        values[name] = value
    return values

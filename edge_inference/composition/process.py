"""A process that hosts components: the container executable, and every node's own."""

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
#: So long a signal waits for the component that is loading, and then for those that are loaded.
_LOADING_S, _UNLOADING_S = 1.0, 0.5
#: The exit code of a process that a signal ends, with the signal's number added.
_SIGNALLED = 128
#: A busy machine may take so long to unload all components; where it stands still is then shown.
_ENDING_S, _STDERR = 30.0, 2
_NAMING = re.compile(r"([^:]*:)?__(node|name|ns):=")
_PARAMETER_FILE, _LOG_FILE = "--params-file", "--log-config-file"
_NO_LOGS = "--disable-external-lib-logs"
#: Where in its source the middleware gave up, which it tells after the reason.
_SOURCE_LINE = re.compile(r", at [^,\s]+:\d+\b")


def run_container(arguments: Sequence[str]) -> int:
    """Host components: those of a pipeline, and those asked for over the load services."""
    parser = argparse.ArgumentParser(
        prog="component_container",
        description="Hosts components in one process.",
        epilog="ROS arguments follow --ros-args. Parameters and remaps hold for the pipeline's "
        "components too; the container's namespace goes before theirs.",
    )
    parser.add_argument("--pipeline", help="load this pipeline's components at the start")
    parser.add_argument(
        "--argument", action="append", default=[], metavar="NAME:=VALUE", help="for the pipeline"
    )
    parser.add_argument(
        "--container",
        default="",
        metavar="NAME",
        help="of the pipeline, load only what its description puts into this container, and bear "
        "its name",
    )
    _add_autostart(parser)
    own, ros = _split(arguments)
    options = parser.parse_args(own)

    def fill(container: Container, ended: Callable[[], bool]) -> None:
        add_load_services(container)
        if options.pipeline:
            components = load_pipeline(options.pipeline).components(
                _assignments(options.argument),
                container.node.get_namespace(),
                container=options.container,
            )
            rules, others = _rules_apart(ros)
            shared = [rule for rule in rules if not _NAMING.match(rule)]
            extra = _as_arguments(shared, others)
            load_components(
                container, components, extra=extra, autostart=options.autostart, ended=ended
            )
        elif options.container:
            raise ConfigError(f"--container {options.container}: expected a --pipeline with it")

    return _host(options.container or "component_container", ros, fill)


def run_component(plugin: str, arguments: Sequence[str]) -> int:
    """Host one component alone; ``arguments`` are its ROS arguments."""
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
        help="a parameter that holds against parameter files, as a launch argument does",
    )
    _add_autostart(parser)
    own, ros = _split(arguments)
    options = parser.parse_args(own)

    def fill(container: Container, ended: Callable[[], bool]) -> None:
        del ended  # there is one component
        values = {name: parse_value(text) for name, text in _assignments(options.set).items()}
        container.load(plugin, ros, options.autostart, _parameters(values))

    # A leading underscore hides the host itself from `ros2 node list`.
    class_name = plugin.rpartition("::")[2].lower()
    place = [rule for rule in _rules_apart(ros)[0] if rule.startswith("__ns:=")]
    return _host(f"_{class_name}_host", ros, fill, _as_arguments(place))


def load_components(
    container: Container,
    components: Sequence[ComponentDescription],
    params_file: str = "",
    extra: Sequence[str] = (),
    autostart: bool = True,
    ended: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Load a pipeline's components; log those that fail and return their messages.

    ``extra`` are ROS arguments for every one of them. A value that the user gave
    the pipeline as an argument holds against ``params_file`` and ``extra``, and
    these against the description's own. Nothing more is loaded once ``ended``.
    """
    rules, others = _rules_apart(extra)
    failures = []
    for component in components:
        if ended():
            break
        # Of remaps the first that fits is taken, of parameters the last.
        arguments = [*_as_arguments(rules), *component.node_arguments(params_file), *others]
        overrides = _parameters(
            {name: component.parameters[name] for name in component.given & {*component.parameters}}
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
    """Give a container on a context of its own; both are gone afterwards.

    ``ros_arguments`` hold for the process (log level); ``own_arguments`` for the
    container's node, the same ones by default. Signals are left to the caller.
    Raises ConfigError where ROS cannot be started, or where a file among the
    arguments is none that it may read.
    """
    _check_files(ros_arguments)
    # Asked before ROS finds out: some releases say it in words of their own, too.
    trouble = None if _NO_LOGS in ros_arguments else find_log_problem()
    if trouble is not None:
        raise ConfigError(trouble)
    context = Context()
    try:
        rclpy.init(
            args=list(ros_arguments),
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except rclpy_implementation.UnknownROSArgsError as error:
        raise ConfigError(f"ROS does not know these arguments: {one_line(str(error))}") from error
    except (RuntimeError, UnicodeError) as error:  # RCLError is one, what the logger throws another
        raise ConfigError(f"ROS does not start with these arguments: {_reason(error)}") from error
    try:
        own = ros_arguments if own_arguments is None else own_arguments
        try:
            container = Container(context, name, own)
        except rclpy_implementation.RCLError as error:
            # The first node makes the middleware's participant: its profile, SROS 2, the network.
            raise ConfigError(f"ROS does not start here: {_reason(error)}") from error
        try:
            yield container
        finally:
            with _ending():
                container.close()
    finally:
        with _ending():
            context.try_shutdown()
            context.destroy()


@contextmanager
def _ending() -> Iterator[None]:
    """End the process where this does not: discovery in Fast DDS may wait for itself for ever.

    It does so with Python's lock held, so no thread of Python could.
    """
    faulthandler.dump_traceback_later(_ENDING_S, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _host(
    name: str,
    ros_arguments: Sequence[str],
    fill: Callable[[Container, Callable[[], bool]], None],
    own_arguments: Sequence[str] | None = None,
) -> int:
    try:
        with (
            open_container(name, ros_arguments, own_arguments) as container,
            _ended_by_signals(container) as (ended, filled),
        ):
            fill(container, ended.is_set)
            filled.set()
            container.spin()
    except EdgeInferenceError as error:
        sys.stderr.write(f"{name.strip('_')}: {one_line(str(error))}\n")
        return 1
    return 0


@contextmanager
def _ended_by_signals(container: Container) -> Iterator[tuple[threading.Event, threading.Event]]:
    """End the spinning on SIGINT and SIGTERM while the graph stands, so that components end well.

    Left to rclpy, the signal would take the context away first. Gives what tells of the end, and
    what is to be told that the container is filled: a component may take minutes to load, in a
    library where no signal is heard, and a signal does not wait for it.
    """
    ended, filled = threading.Event(), threading.Event()

    def end(number: int) -> None:
        container.stop()
        if not filled.wait(_LOADING_S):
            _leave_loading(container, number)

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        note_handler_call()
        ended.set()
        # In a thread: the handler may have interrupted the holder of a lock that stop() needs.
        threading.Thread(target=end, args=(number,), daemon=True).start()

    def leave(number: int) -> None:
        container.stop()
        _leave_loading(container, number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    try:
        with watch_signals(leave, _LOADING_S):
            yield ended, filled
    finally:
        filled.set()
        # A terminal and ros2 launch each send SIGINT: the second must not cut the end short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave_loading(container: Container, number: int) -> None:
    """End the process though a component is still loading; those that are loaded end before."""

    def unload() -> None:
        for component in container.components[:-1]:
            container.unload(component.id)

    unloading = threading.Thread(target=unload, daemon=True)
    unloading.start()
    unloading.join(_UNLOADING_S)
    os._exit(_SIGNALLED + number)


def _add_autostart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-autostart", dest="autostart", action="store_false", help="leave it unconfigured"
    )


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell a program's own arguments from ROS's, which run from --ros-args to -- or the end."""
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


def _rules_apart(ros: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the remapping rules (the rules alone) from the other ROS arguments."""
    rules: list[str] = []
    others: list[str] = []
    words = iter(ros)
    for word in words:
        if word in _REMAP:
            rules += itertools.islice(words, 1)
        elif word != "--ros-args":
            others.append(word)
    return rules, others


def _check_files(ros: Sequence[str]) -> None:
    """Refuse files that ROS would read without an end, or at any cost."""
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


def _reason(error: Exception) -> str:
    """Return what ROS says, without where in its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return one_line(_SOURCE_LINE.sub("", lines[0]))


def _as_arguments(rules: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    return ["--ros-args", *(word for rule in rules for word in ("-r", rule)), *others]


def _parameters(values: Mapping[str, Any]) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    values = {}
    for text in texts:
        name, separator, value = text.partition(":=")
        if not separator:
            raise ConfigError(f"{text!r}: expected name:=value")
        values[name] = value
    return values

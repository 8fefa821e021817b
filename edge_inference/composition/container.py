"""The component container: loads, lists, unloads and spins components in one process.

Each component has its own name, namespace, parameters and remaps. If one fails to
load or to configure, the others keep running.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
)
from rclpy.lifecycle import LifecycleNodeMixin, TransitionCallbackReturn
from rclpy.node import Node

from edge_inference.composition.allocator import keep_large_blocks
from edge_inference.core.settings import suggestion
from edge_inference.errors import ConfigError, EdgeInferenceError, PluginError

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.executors import Executor
    from rclpy.parameter import Parameter

# CPython switches between threads after this time. The default of 5 ms is longer than most hops
# between stages.
_SWITCH_INTERVAL_S = 0.0005

# The events executor runs no callbacks if it spins without a timeout (rclpy 9.1).
_SPIN_TIMEOUT_S = 0.5

# An error often repeats with every message, so each one is logged again only after this time.
_LOG_PERIOD_NS = 5_000_000_000


@dataclass
class LoadedComponent:
    """A loaded component; ``id`` is unique during the lifetime of the container.

    ``spinner`` runs its callbacks. ``failure`` is the step of its start that failed, empty if
    none did.
    """

    id: int
    plugin: str
    node: Node
    spinner: _Spinner
    failure: str = ""

    @property
    def full_name(self) -> str:
        """Return namespace and name."""
        return str(self.node.get_fully_qualified_name())


class Container:
    """Hosts components on one ROS context and one executor.

    A component whose class sets ``own_executor = True`` has its own executor and thread, so that
    a flood of messages or a slow load in other components does not delay it.
    """

    def __init__(
        self,
        context: Context,
        name: str = "component_container",
        cli_args: Sequence[str] | None = None,
        use_global_arguments: bool = False,
    ) -> None:
        keep_large_blocks()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self.context = context
        self._logged_ns: dict[tuple[tuple[str, int], ...], int] = {}
        self._spinner = _Spinner(context, self._log_failure)
        self.executor = self._spinner.executor
        self.node = Node(
            name,
            context=context,
            cli_args=list(cli_args or ()),
            use_global_arguments=use_global_arguments,
        )
        self.executor.add_node(self.node)
        self._components: dict[int, LoadedComponent] = {}
        self._ids = itertools.count(1)

    @property
    def components(self) -> list[LoadedComponent]:
        """Return the loaded components, oldest first."""
        return list(self._components.values())

    def load(
        self,
        plugin: str,
        arguments: Sequence[str],
        autostart: bool = True,
        overrides: Sequence[Parameter] = (),
    ) -> LoadedComponent:
        """Create a component with its own ``--ros-args`` and spin it.

        ``overrides`` are parameters that take precedence over those in the arguments.
        With ``autostart`` a lifecycle component is configured and activated; if that
        fails, it stays loaded and unconfigured, and the log and /diagnostics contain
        the reason. Raises ConfigError or PluginError if the component cannot be created.
        """
        component_class = find_plugin(plugin)
        try:
            node = component_class(
                context=self.context,
                cli_args=list(arguments),
                use_global_arguments=False,
                parameter_overrides=list(overrides),
            )
        except BaseException as error:
            # No error in a constructor may stop the others, and the incomplete node, which only
            # tracebacks still reference, must leave the graph.
            _clear_tracebacks(error)
            gc.collect()
            if isinstance(error, EdgeInferenceError):
                raise
            raise PluginError(
                f"component {plugin} cannot be created: {_format_error(error)}"
            ) from error
        component = LoadedComponent(next(self._ids), plugin, node, self._spinner)
        duplicates = [other for other in self.components if other.full_name == component.full_name]
        if duplicates:
            name = component.full_name
            node.destroy_node()
            del component, node
            gc.collect()
            raise ConfigError(
                f"component {name} is already loaded (id {duplicates[0].id}); unload it first or "
                "choose another name"
            )
        if getattr(component_class, "own_executor", False):
            component.spinner = _Spinner(self.context, self._log_failure)
        self._components[component.id] = component
        component.spinner.executor.add_node(node)
        if autostart and isinstance(node, LifecycleNodeMixin):
            self._start(component)
        if component.spinner is not self._spinner:
            component.spinner.start(component.full_name)
        return component

    def unload(self, component_id: int) -> None:
        """Shut down a component and free it. Raises ConfigError for an unknown id."""
        component = self._components.pop(component_id, None)
        if component is None:
            raise ConfigError(
                f"no component has the id {component_id}; loaded: {self._format_components()}"
            )
        self._destroy(component)
        del component
        # Nodes contain reference cycles; without this the memory of a model would be freed much
        # later. The executor drops its reference only when it runs again, so this is a task.
        self.executor.create_task(gc.collect)

    def spin(self) -> None:
        """Run callbacks until :meth:`stop` or the context's shutdown.

        An exception from one component's callback is logged and does not stop
        the others.
        """
        self._spinner.spin()

    def stop(self) -> None:
        """Make :meth:`spin` return; safe from any thread."""
        self._spinner.stop()

    def close(self) -> None:
        """Unload all components, newest first, and shut down the executor."""
        self.stop()
        for component in reversed(self.components):
            del self._components[component.id]
            self._destroy(component)
        self.executor.remove_node(self.node)
        self.node.destroy_node()
        self._spinner.close()

    def _start(self, component: LoadedComponent) -> None:
        node = component.node
        for transition in (node.trigger_configure, node.trigger_activate):
            if not self._run_transition(transition):
                component.failure = f"did not {transition.__name__.removeprefix('trigger_')}"
                self.node.get_logger().error(
                    f"{component.full_name} {component.failure}; "
                    "the reason is in the log above. The other components keep running."
                )
                return

    def _run_transition(self, transition: Callable[[], TransitionCallbackReturn]) -> bool:
        try:
            return transition() == TransitionCallbackReturn.SUCCESS
        except Exception:
            # As in the constructor: an error in one component must not stop the others.
            self.node.get_logger().error(traceback.format_exc())
            return False

    def _destroy(self, component: LoadedComponent) -> None:
        node, spinner = component.node, component.spinner
        has_own_spinner = spinner is not self._spinner
        if has_own_spinner:
            spinner.stop()
        spinner.executor.remove_node(node)
        try:
            node.destroy_node()
        except Exception as error:
            # A component that fails to unload must not stop the others.
            self.node.get_logger().error(
                f"{component.plugin} failed to unload: {_format_error(error)}"
            )
        if has_own_spinner:
            spinner.close()

    def _log_failure(self) -> None:
        # By place and not by text, which may differ with every message.
        steps = traceback.walk_tb(sys.exc_info()[2])
        place = tuple((frame.f_code.co_filename, line) for frame, line in steps)
        now_ns = monotonic_ns()
        if now_ns - self._logged_ns.get(place, -_LOG_PERIOD_NS) < _LOG_PERIOD_NS:
            return
        self._logged_ns[place] = now_ns
        self.node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")

    def _format_components(self) -> str:
        return ", ".join(f"{item.id} {item.full_name}" for item in self.components) or "none"


class _Spinner:
    """An executor and the thread that spins it: the caller of ``spin``, or its own thread."""

    def __init__(self, context: Context, on_failure: Callable[[], None]) -> None:
        self.executor = make_executor(context)
        self._context = context
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, name: str) -> None:
        """Spin in an own thread."""
        self._thread = threading.Thread(target=self.spin, name=f"{name} executor", daemon=True)
        self._thread.start()

    def spin(self) -> None:
        """Run callbacks until ``stop`` or the context's shutdown; log their exceptions."""
        while self._context.ok() and not self._stop.is_set():
            try:
                self.executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)
            except (ExternalShutdownException, ShutdownException, KeyboardInterrupt):
                return
            except BaseException:  # also SystemExit, which would end the thread silently
                self._on_failure()

    def stop(self) -> None:
        """Stop spinning, from any thread, and wait for the own thread."""
        self._stop.set()
        if self._context.ok():
            # A task ends the spin at once; wake() does not, with any executor.
            self.executor.create_task(lambda: None)
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Shut down the executor after the last spin."""
        self.executor.shutdown()


def make_executor(context: Context) -> Executor:
    """Return the fastest executor of this rclpy."""
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:  # before Jazzy
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def find_plugin(plugin: str) -> type[Any]:
    """Return the class behind ``package::Class`` or ``package.module::Class``.

    A class is looked up in the ``nodes`` module of the package first, then in the
    package itself. Raises PluginError with the names that were tried.
    """
    module_name, separator, class_name = plugin.rpartition("::")
    if not separator or not module_name or not class_name:
        raise PluginError(f"component {plugin!r}: expected package::Class or package.module::Class")
    tried = []
    for candidate in (f"{module_name}.nodes", module_name):
        try:
            module = importlib.import_module(candidate)
            # A package may import the class lazily, so this can fail like an import.
            found = getattr(module, class_name, None)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{candidate}.".startswith(f"{error.name}."):
                raise PluginError(
                    f"component {plugin!r}: {candidate} needs {error.name}"
                ) from error
            tried.append(f"no module {candidate}")
            continue
        except BaseException as error:  # some modules raise SystemExit when they are imported
            raise PluginError(
                f"component {plugin!r}: {candidate}: {_format_error(error)}"
            ) from error
        if isinstance(found, type) and issubclass(found, Node):
            return found
        if found is not None:
            raise PluginError(
                f"component {plugin!r}: expected {candidate}.{class_name} to be a node class "
                f"(rclpy.node.Node), got {found!r}"
            )
        known = getattr(module, "__all__", ())
        tried.append(f"{candidate} has no class {class_name}{suggestion(class_name, known)}")
    raise PluginError(f"component {plugin!r}: " + "; ".join(tried))


def _clear_tracebacks(error: BaseException | None) -> None:
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _format_error(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

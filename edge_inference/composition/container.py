"""Components in one process: loads, lists, unloads and spins them.

Each component keeps its own name, namespace, parameters and remaps. One that
fails to load or to configure leaves the others running.
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

# CPython lets a thread run this long before another that waits gets its turn. The default of
# 5 ms is longer than most hops between stages.
_SWITCH_INTERVAL_S = 0.0005

# The events executor runs no callback when it spins without a time limit (rclpy 9.1).
_SPIN_S = 0.5

# What fails for one message fails for all of them: each way to fail is logged again after so long.
_REPEAT_NS = 5_000_000_000


@dataclass
class LoadedComponent:
    """A loaded component; ``id`` is unique for the container's lifetime.

    ``spinner`` runs its callbacks. ``failure`` says which step of its start failed, empty where
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
    """Holds components on one ROS context and one executor.

    A component whose class says ``own_executor = True`` has an executor and a thread to itself:
    what holds the others up, a flood of messages or a slow load, does not hold it up.
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
        """Return what is loaded, oldest first."""
        return list(self._components.values())

    def load(
        self,
        plugin: str,
        arguments: Sequence[str],
        autostart: bool = True,
        overrides: Sequence[Parameter] = (),
    ) -> LoadedComponent:
        """Make a component with its own ``--ros-args`` and let it take part.

        ``overrides`` are parameters that hold against those among the arguments.
        With ``autostart`` a lifecycle component is configured and activated; one
        whose configuration fails stays loaded, unconfigured, and says why in the
        log and in /diagnostics. Raises ConfigError or PluginError where the
        component cannot be made at all.
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
            # Whatever a component's constructor does, the others must go on, and the half-made
            # node, which only tracebacks still hold, must leave the graph.
            _clear_tracebacks(error)
            gc.collect()
            if isinstance(error, EdgeInferenceError):
                raise
            raise PluginError(f"component {plugin} cannot be made: {_cause(error)}") from error
        component = LoadedComponent(next(self._ids), plugin, node, self._spinner)
        taken = [other for other in self.components if other.full_name == component.full_name]
        if taken:
            name = component.full_name
            node.destroy_node()
            del component, node
            gc.collect()
            raise ConfigError(
                f"a component {name} is loaded already (id {taken[0].id}); unload it first or "
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
        """Shut a component down and free it. Raises ConfigError for an unknown id."""
        component = self._components.pop(component_id, None)
        if component is None:
            raise ConfigError(f"no component has the id {component_id}; loaded: {self._listing()}")
        self._dispose(component)
        del component
        # Nodes hold reference cycles; without this a model's memory would stay until much later.
        # The executor lets go of a node only when it runs again, hence the task.
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
        """Unload everything, newest first, and give the executor back."""
        self.stop()
        for component in reversed(self.components):
            del self._components[component.id]
            self._dispose(component)
        self.executor.remove_node(self.node)
        self.node.destroy_node()
        self._spinner.close()

    def _start(self, component: LoadedComponent) -> None:
        node = component.node
        for transition in (node.trigger_configure, node.trigger_activate):
            if not self._succeeds(transition):
                component.failure = f"did not {transition.__name__.removeprefix('trigger_')}"
                self.node.get_logger().error(
                    f"{component.full_name} {component.failure}; "
                    "the reason stands above. The other components go on."
                )
                return

    def _succeeds(self, transition: Callable[[], TransitionCallbackReturn]) -> bool:
        try:
            return transition() == TransitionCallbackReturn.SUCCESS
        except Exception:
            # As in its constructor: a component's fault stays its own.
            self.node.get_logger().error(traceback.format_exc())
            return False

    def _dispose(self, component: LoadedComponent) -> None:
        node, spinner = component.node, component.spinner
        has_own = spinner is not self._spinner
        if has_own:
            spinner.stop()
        spinner.executor.remove_node(node)
        try:
            node.destroy_node()
        except Exception as error:
            # A component that cannot let go must not keep the others from going on.
            self.node.get_logger().error(f"{component.plugin} failed to unload: {_cause(error)}")
        if has_own:
            spinner.close()

    def _log_failure(self) -> None:
        # Not by the text, which may differ with every message.
        steps = traceback.walk_tb(sys.exc_info()[2])
        place = tuple((frame.f_code.co_filename, line) for frame, line in steps)
        now_ns = monotonic_ns()
        if now_ns - self._logged_ns.get(place, -_REPEAT_NS) < _REPEAT_NS:
            return
        self._logged_ns[place] = now_ns
        self.node.get_logger().error(f"a callback failed:\n{traceback.format_exc()}")

    def _listing(self) -> str:
        return ", ".join(f"{item.id} {item.full_name}" for item in self.components) or "none"


class _Spinner:
    """An executor, and whoever runs its callbacks: the caller of ``spin``, or a thread of ours."""

    def __init__(self, context: Context, on_failure: Callable[[], None]) -> None:
        self.executor = make_executor(context)
        self._context = context
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, name: str) -> None:
        """Spin in a thread."""
        self._thread = threading.Thread(target=self.spin, name=f"{name} executor", daemon=True)
        self._thread.start()

    def spin(self) -> None:
        """Run callbacks until ``stop`` or the context's shutdown; log the exceptions of one."""
        while self._context.ok() and not self._stop.is_set():
            try:
                self.executor.spin_once(timeout_sec=_SPIN_S)
            except (ExternalShutdownException, ShutdownException, KeyboardInterrupt):
                return
            except BaseException:  # SystemExit too: it would end our thread without a word
                self._on_failure()

    def stop(self) -> None:
        """End the spinning, from any thread, and wait for our own thread."""
        self._stop.set()
        if self._context.ok():
            # A task ends the spin at once; wake() does not, on any executor.
            self.executor.create_task(lambda: None)
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Give the executor back; nothing spins it any more."""
        self.executor.shutdown()


def make_executor(context: Context) -> Executor:
    """Return the lightest executor that this rclpy has."""
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:  # before Jazzy
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def find_plugin(plugin: str) -> type[Any]:
    """Return the class behind ``package::Class`` or ``package.module::Class``.

    A class of a package is looked up in its ``nodes`` module first, then in the
    package itself. Raises PluginError that says what was looked for.
    """
    module_name, separator, class_name = plugin.rpartition("::")
    if not separator or not module_name or not class_name:
        raise PluginError(f"component {plugin!r}: expected package::Class or package.module::Class")
    tried = []
    for candidate in (f"{module_name}.nodes", module_name):
        try:
            module = importlib.import_module(candidate)
            # A package may import the class only now, so this can fail like an import.
            found = getattr(module, class_name, None)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{candidate}.".startswith(f"{error.name}."):
                raise PluginError(
                    f"component {plugin!r}: {candidate} needs {error.name}"
                ) from error
            tried.append(f"no module {candidate}")
            continue
        except BaseException as error:  # some modules end the program that imports them
            raise PluginError(f"component {plugin!r}: {candidate}: {_cause(error)}") from error
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


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"

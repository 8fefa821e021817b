"""An executor of another package, in threads of its own: it can neither delay nor end stop."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rclpy.node import Node
from rclpy.parameter import Parameter

from edge_inference.composition.container import make_executor
from edge_inference.core.runtime.worker import format_error, report_failure
from edge_inference.core.voice import ActionStep
from edge_inference.errors import EdgeInferenceError
from edge_inference.nodes.component import Component
from edge_inference.speech.actions.executor import ActionExecutor, ExecutorRow
from edge_inference.speech.actions.limits import VoiceLimits

_OUTCOME_PERIOD_S = 0.02
#: The events executor runs no callbacks if it spins without a timeout (rclpy 9.1).
_SPIN_TIMEOUT_S = 0.1
#: A thread that hangs must not hold up the end of the node.
_END_TIMEOUT_S = 1.0


@dataclass(eq=False)
class _Run:
    """One step in its thread; ``outcome`` is None until it is over or has failed."""

    step: ActionStep
    is_canceled: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)
    outcome: str | None = None
    canceled_s: float = math.inf
    #: Guards ``is_over`` and ``canceler``, the thread that tells the executor to cancel.
    lock: threading.Lock = field(default_factory=threading.Lock)
    canceler: threading.Thread | None = None

    def cancel(self) -> None:
        """Note that the step must end, and since when."""
        self.canceled_s = min(self.canceled_s, time.monotonic())
        self.is_canceled.set()

    def end(self) -> None:
        """Note that the step is over, once nothing cancels it any more: the next one may start."""
        while True:
            with self.lock:
                canceler = self.canceler
                if canceler is None or not canceler.is_alive():
                    self.is_over.set()
                    return
            canceler.join()


class IsolatedExecutor(ActionExecutor):
    """Calls an executor of another package in threads; no method of this class waits for it.

    The executor gets a node with its own ROS executor. ``report`` gets its exceptions. A step that
    has not ended ``cancel_timeout_s()`` after it was canceled is an error, and said aloud.
    """

    def __init__(
        self,
        row: ExecutorRow,
        owner: Component,
        limits: VoiceLimits,
        report: Callable[[BaseException], None],
        cancel_timeout_s: Callable[[], float],
    ) -> None:
        self._name = row.name
        self._owner = owner
        self._report = report
        self._cancel_timeout_s = cancel_timeout_s
        self._run: _Run | None = None
        #: A step that starts once the step before it is over, and why it was not started.
        self._next: ActionStep | None = None
        self._refusal = ""
        self._is_closing = threading.Event()
        self._ros_executor = make_executor(owner.context)
        node: Node | None = None
        try:
            self._node = node = _make_node(owner, row.name)
            self._executor = row.make(node, limits)
            if not isinstance(self._executor, ActionExecutor):
                raise TypeError(
                    f"make: expected an ActionExecutor, got {type(self._executor).__name__}"
                )
            self.drives_base = bool(self._executor.drives_base)
        except BaseException as error:
            if node is not None:
                node.destroy_node()
            self._ros_executor.shutdown()
            if isinstance(error, KeyboardInterrupt):
                raise
            raise EdgeInferenceError(
                f"action executor {row.name!r} cannot be made: {format_error(error)}"
            ) from error
        self._ros_executor.add_node(self._node)
        self._spinner = self._start_thread(self._spin, "spin")

    def start(self, step: ActionStep) -> None:
        """Start a step in a thread, or soon if an earlier one has not ended yet."""
        self.cancel()
        self._next, self._refusal = step, ""
        self._start_next()

    def outcome(self) -> str | None:
        """Return the outcome of the step, as far as its thread has found it."""
        self._start_next()
        if self._refusal or self._next is not None:
            return self._refusal or None
        return "" if self._run is None else self._run.outcome

    def cancel(self) -> None:
        """Cancel the step; the executor hears it at once, in a thread of its own."""
        self._next = None
        if (run := self._run) is None:
            return
        with run.lock:
            if run.is_over.is_set():
                return
            run.cancel()
            if run.canceler is None or not run.canceler.is_alive():
                run.canceler = self._start_thread(self._cancel, "cancel")

    @property
    def warning(self) -> str:
        """Tell that a canceled step has not ended in time; also an error of the node."""
        if not self._is_overdue():
            return ""
        problem = f"action executor {self._name!r} does not end a canceled step"
        if self._owner.health.report_ongoing(self._name, problem, time.monotonic_ns()):
            self._owner.get_logger().error(problem)
        return f"Attention, {self._spoken()} may still be going on"

    def close(self) -> None:
        """Cancel the step and free the executor, without waiting for one that hangs."""
        self.cancel()
        run = self._run
        if run is not None:
            run.is_over.wait(_END_TIMEOUT_S)
        self._start_thread(self._close, "close").join(_END_TIMEOUT_S)
        self._is_closing.set()
        self._spinner.join(_END_TIMEOUT_S)
        if not self._spinner.is_alive():  # otherwise a callback hangs, and still uses the node
            self._ros_executor.remove_node(self._node)
            self._node.destroy_node()
            self._ros_executor.shutdown()

    def _start_next(self) -> None:
        if self._next is None:
            return
        if self._is_overdue():
            self._next, self._refusal = None, f"{self._spoken()} has not ended yet"
        elif self._run is None or self._run.is_over.is_set():
            run = self._run = _Run(self._next)
            self._next = None
            self._start_thread(lambda: self._execute(run), "step")

    def _is_overdue(self) -> bool:
        """Tell whether a canceled step has not ended in time."""
        run = self._run
        if run is None or run.is_over.is_set():
            return False
        return time.monotonic() - run.canceled_s >= self._cancel_timeout_s()

    def _spoken(self) -> str:
        return self._name.replace("_", " ")

    def _execute(self, run: _Run) -> None:
        outcome: str | None = None
        try:
            if not run.is_canceled.is_set():  # a stop may have come before this thread
                self._executor.start(run.step)
            while not run.is_canceled.is_set() and outcome is None:
                outcome = _check_outcome(self._executor.outcome())
                if outcome is None:
                    run.is_canceled.wait(_OUTCOME_PERIOD_S)
        except BaseException as error:
            run.outcome = f"{self._spoken()} has failed"
            run.cancel()
            report_failure(error, self._report)
        if run.is_canceled.is_set():
            # Again: the cancel may have come before ``start`` began to move anything.
            self._cancel()
        # In this order, because the next step of a plan may start once there is an outcome.
        run.end()
        run.outcome = run.outcome or outcome

    def _cancel(self) -> None:
        try:
            self._executor.cancel()
        except BaseException as error:
            report_failure(error, self._report)

    def _close(self) -> None:
        try:
            self._executor.close()
        except BaseException as error:
            report_failure(error, self._report)

    def _spin(self) -> None:
        while self._owner.context.ok() and not self._is_closing.is_set():
            try:
                self._ros_executor.spin_once(timeout_sec=_SPIN_TIMEOUT_S)
            except BaseException as error:
                if self._owner.context.ok():
                    report_failure(error, self._report)

    def _start_thread(self, work: Callable[[], None], what: str) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"{self._name} {what}", daemon=True)
        thread.start()
        return thread


def _make_node(owner: Component, name: str) -> Node:
    use_sim_time = owner.get_parameter("use_sim_time").value
    return Node(
        f"{owner.get_name()}_{name}",
        namespace=owner.get_namespace(),
        context=owner.context,
        use_global_arguments=False,
        parameter_overrides=[Parameter("use_sim_time", value=use_sim_time)],
        start_parameter_services=False,
    )


def _check_outcome(outcome: Any) -> str | None:
    if outcome is not None and not isinstance(outcome, str):
        raise TypeError(f"outcome: expected a text or None, got {type(outcome).__name__}")
    return outcome

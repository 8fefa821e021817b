"""Reads the sensors, lets the governor decide, and publishes its directives to inference nodes."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import Any

from edge_inference.composition.pipeline import share_folder
from edge_inference.composition.reception import Reception
from edge_inference.core.directives.directive import Directive, Workload, make_release_directive
from edge_inference.core.directives.manager_election import ManagerElection
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.runtime.expiring_map import ExpiringMap
from edge_inference.core.runtime.worker import Worker
from edge_inference.errors import InputError
from edge_inference.governor.governor import Governor
from edge_inference.governor.state import GovernorDecision
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.performance import DirectiveAdapter, WorkloadAdapter
from edge_inference.nodes.platform.actuator_control import ActuatorControl
from edge_inference.nodes.platform.platform_reports import PlatformReports
from edge_inference.nodes.platform.platform_settings import PlatformManagerSettings

#: A node that has not reported for this long is gone.
_NODE_TIMEOUT_NS = 5_000_000_000
#: The governor compares each node with every other one.
_MAX_NODES = 64
_LOG_PERIOD_NS = 60_000_000_000


class PlatformManager(Component):
    """Publishes the state of the machine, and directives to inference nodes."""

    default_name = "platform_manager"
    default_namespace = "ai"
    settings_class = PlatformManagerSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._worker: Worker | None = None
        self._problem_logged_ns: int | None = None

    def open(self) -> None:
        """Open the sensors and the actuators."""
        settings = self.parameters.current
        shipped = share_folder() / "config" / "platforms"
        self._platform, self._machine_clock = settings.open_platform(shipped)
        self._actuators = ActuatorControl(self, settings, self._platform.board.settings.gpus)
        self._directives = self.make_publisher("performance_directive", DirectiveAdapter())
        self._reports = PlatformReports(self)
        self.health.note("board", self._platform.board.name)

    def start(self) -> None:
        """Subscribe to workloads and to other managers; start the worker."""
        # Several managers may have the same node name: each start gets a unique name.
        self._manager_name = f"{self.get_fully_qualified_name()}#{uuid.uuid4().hex[:8]}"
        self._governor = Governor(self.parameters.current, self._manager_name)
        self._workloads: ExpiringMap[Workload] = ExpiringMap(_MAX_NODES, _NODE_TIMEOUT_NS)
        self._election = ManagerElection(self._manager_name, time.monotonic_ns())
        self.subscribe_to("workload", WorkloadAdapter(), self._receive_workload)
        self.subscribe_to("performance_directive", DirectiveAdapter(), self._receive_directive)
        self._worker = self.make_worker(self._run)

    def stop(self) -> None:
        """Stop the worker, and lift the clock cap, which nobody would adapt any more.

        Nodes go to their safe level if no other manager takes over.
        """
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()
            self._actuators.lift_clock_cap()

    def close(self) -> None:
        """End all directives, and restore what was set on the machine."""
        pop = self.__dict__.pop
        try:
            if pop("_election", None):
                self._directives.publish(make_release_directive(self._manager_name, self.now_ns()))
        finally:
            for resource in (pop("_actuators", None), pop("_platform", None)):
                if resource is not None:
                    resource.close()

    def on_change(self, settings: PlatformManagerSettings) -> None:
        """Apply changed requests to the machine."""
        if hasattr(self, "_actuators"):
            self._actuators.request(settings)

    # In the executor ----------------------------------------------------------------------------

    def _receive_workload(self, workload: Workload, reception: Reception) -> None:
        del reception
        if not self._workloads.put(workload.node, workload, time.monotonic_ns()):
            message = (
                f"workload of {workload.node!r}: expected at most {_MAX_NODES} nodes, got more"
            )
            self.report_error(InputError(message), "workload", lost=False)

    def _receive_directive(self, directive: Directive, reception: Reception) -> None:
        del reception
        if directive.problem:  # a manager that sends invalid directives is not active
            self.report_error(InputError(directive.problem), "directive", lost=False)
        else:
            self._election.receive(directive.manager, time.monotonic_ns())

    # In the worker thread -------------------------------------------------------------------------

    def _run(self, worker: Worker) -> None:
        due_ns = time.monotonic_ns()
        while not worker.is_ending:
            self._step()
            now_ns = time.monotonic_ns()
            due_ns = max(due_ns + int(1e9 / self.parameters.current.rate_hz), now_ns)
            worker.wait((due_ns - now_ns) / 1e9)

    def _step(self) -> None:
        self._actuators.report()
        now_ns = time.monotonic_ns()
        machine_ns = self._machine_clock()  # the clock of a recorded machine may run faster
        state = self._platform.sense(machine_ns)
        self._governor.settings = self.parameters.current
        workloads = list(self._workloads.current(now_ns).values())
        decision = self._governor.decide(state, workloads, machine_ns)
        others = self._election.others(now_ns)
        if self._election.is_active(now_ns):
            self._publish_directives(decision)
            self._actuators.cap_clocks(decision.clock_cap)
            self._reports.publish(state, decision, machine_ns)
        else:  # another manager is active: this decision is not published
            self._governor.reset_escalations()
            self._actuators.cap_clocks(None)
            if others:
                self.health.set_fault("")
                self.health.set_warning(
                    f"{', '.join(others)} is active already; this manager stands by"
                )
                return
        self._report(state, decision)

    def _publish_directives(self, decision: GovernorDecision) -> None:
        stamp_ns = self.now_ns()
        for directive in decision.directives:
            self._directives.publish(
                dataclasses.replace(directive, manager=self._manager_name, stamp_ns=stamp_ns)
            )

    def _report(self, state: PlatformState, decision: GovernorDecision) -> None:
        self.health.count_processed()
        self.health.set_fault(decision.reason if decision.severity == "error" else "")
        warnings = [decision.reason if decision.severity == "warn" else "", state.problem]
        self.health.set_warning("; ".join(filter(None, warnings)))
        missing = [each for each in state.readings if each.value is None]
        unknown = {each.name: f"{each.status.value}: {each.problem}" for each in missing}
        unknown |= {"sensors": state.problem} if state.problem else {}
        self.health.replace_notes({"reason": decision.reason, **decision.diagnostics, **unknown})
        self._log_problem(state)

    def _log_problem(self, state: PlatformState) -> None:
        """Log what is wrong with the sensors when it begins, and again each minute."""
        if not state.problem:
            self._problem_logged_ns = None
        elif self._problem_logged_ns is None or (
            state.stamp_ns - self._problem_logged_ns >= _LOG_PERIOD_NS
        ):
            self._problem_logged_ns = state.stamp_ns
            self.get_logger().warning(f"sensors: {state.problem}")

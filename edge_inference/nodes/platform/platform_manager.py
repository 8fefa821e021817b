"""Senses the machine, decides how much inference it can bear, and asks the nodes for that."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import Any

from edge_inference.composition.pipeline import share_folder
from edge_inference.core.directives.directive import Directive, Workload, farewell
from edge_inference.core.directives.manager_election import ManagerElection
from edge_inference.core.platform_state import PlatformState
from edge_inference.core.runtime.recent import RecentNames
from edge_inference.core.runtime.worker import Worker
from edge_inference.errors import EdgeInferenceError, InputError
from edge_inference.governor.decision import GovernorDecision
from edge_inference.governor.governor import Governor
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.performance import DirectiveAdapter, WorkloadAdapter
from edge_inference.nodes.platform.platform_reports import PlatformReports
from edge_inference.nodes.platform.platform_settings import PlatformManagerSettings
from edge_inference.platforms.actuators.actuators import Actuators

#: A node that has told nothing of itself for so long is gone.
_GONE_NS = 5_000_000_000
#: The governor weighs each node against the others.
_MOST_NODES = 64
#: So long the executor waits at the end for the machine's settings to be put back.
_PUT_BACK_S = 10.0


class PlatformManager(Component):
    """Publishes the machine's state and what it asks of inference nodes."""

    default_name = "platform_manager"
    default_namespace = "ai"
    settings_class = PlatformManagerSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._wished = self.parameters.current.wishes()
        self._worker: Worker | None = None
        self._workloads: RecentNames[Workload] = RecentNames(_MOST_NODES, _GONE_NS)

    def open(self) -> None:
        """Find the sensors, and what may be set."""
        settings = self.parameters.current
        shipped = share_folder() / "config" / "platforms"
        self._platform, self._machine_clock = settings.open_platform(shipped)
        self._actuators = self._open_actuators(settings)
        self._directives = self.make_publisher("performance_directive", DirectiveAdapter())
        self._reports = PlatformReports(self)
        self.health.note("board", self._platform.board.name)

    def start(self) -> None:
        """Listen to the nodes, and to other managers; begin to look and decide."""
        # Several managers may bear one name: each life has a name of its own.
        self._me = f"{self.get_fully_qualified_name()}#{uuid.uuid4().hex[:8]}"
        self._governor = Governor(self.parameters.current, self._me)
        self._leadership = ManagerElection(self._me, time.monotonic_ns())
        self.subscribe_to("workload", WorkloadAdapter(), self._hear_workload)
        self.subscribe_to("performance_directive", DirectiveAdapter(), self._hear_directive)
        self._worker = self.make_worker(self._run)

    def stop(self) -> None:
        """End looking; nodes go to their safe level unless another manager is there or we close."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def close(self) -> None:
        """Ask nothing any more, and put back what was set on the machine."""
        popped = self.__dict__.pop
        if popped("_leadership", None):
            self._directives.publish(farewell(self._me, self.now_ns()))
        actuators, platform = popped("_actuators", None), popped("_platform", None)
        if actuators is not None and not actuators.close(_PUT_BACK_S):
            self.get_logger().warning(
                f"what was set on the machine is not put back after {_PUT_BACK_S:g} s; its "
                "guardian does that when this process ends"
            )
        if platform is not None:
            platform.close()

    def on_change(self, settings: PlatformManagerSettings) -> None:
        """Set on the machine what has changed; without a value it is put back."""
        before, self._wished = self._wished, settings.wishes()
        if hasattr(self, "_actuators") and not settings.recording:
            for name in before.keys() | self._wished.keys():
                if self._wished.get(name) != before.get(name):
                    self._actuators.request(name, self._wished.get(name, ""))

    def _open_actuators(self, settings: PlatformManagerSettings) -> Actuators:
        # What a recording tells must change nothing on this machine.
        allowed = () if settings.recording else settings.actuators
        gpus = self._platform.board.settings.gpus
        actuators = Actuators(allowed, dry_run=settings.dry_run, gpu_names=gpus)
        for name, value in settings.wishes().items() if allowed else ():
            actuators.request(name, value)
        return actuators

    # In the executor ----------------------------------------------------------------------------

    def _hear_workload(self, workload: Workload, by_reference: bool) -> None:
        del by_reference
        if not self._workloads.hear(workload.node, workload, time.monotonic_ns()):
            words = f"workload of {workload.node!r}: expected {_MOST_NODES} nodes at most, got more"
            self.report_error(InputError(words), "workload", lost=False)

    def _hear_directive(self, directive: Directive, by_reference: bool) -> None:
        del by_reference
        if directive.problem:  # who cannot be understood does not lead
            self.report_error(InputError(directive.problem), "directive", lost=False)
        else:
            self._leadership.hear(directive.manager, time.monotonic_ns())

    # In our thread ------------------------------------------------------------------------------

    def _run(self, worker: Worker) -> None:
        due_ns = time.monotonic_ns()
        while not worker.is_ending:
            self._look()
            now_ns = time.monotonic_ns()
            due_ns = max(due_ns + int(1e9 / self.parameters.current.rate_hz), now_ns)
            worker.wait((due_ns - now_ns) / 1e9)

    def _look(self) -> None:
        now_ns = time.monotonic_ns()
        its_ns = self._machine_clock()  # of a recorded machine the time may pass faster
        state = self._platform.sense(its_ns)
        self._governor.settings = self.parameters.current
        workloads = list(self._workloads.known(now_ns).values())
        decision = self._governor.decide(state, workloads, its_ns)
        others = self._leadership.others(now_ns)
        if self._leadership.leads(now_ns):
            self._ask(decision)
            self._reports.publish(state, decision, its_ns)
            self._actuators.apply(decision.clock_cap)
        else:  # nobody is told of it
            self._governor.trust_all()
            self._actuators.apply(None)
            if others:
                self.health.set_fault("")
                self.health.set_warning(
                    f"{', '.join(others)} leads already; this manager stands by"
                )
                return
        self._show(state, decision)

    def _ask(self, decision: GovernorDecision) -> None:
        stamp_ns = self.now_ns()
        for directive in decision.directives:
            self._directives.publish(
                dataclasses.replace(directive, manager=self._me, stamp_ns=stamp_ns)
            )

    def _show(self, state: PlatformState, decision: GovernorDecision) -> None:
        self.health.count_processed()
        self.health.set_fault(decision.reason if decision.severity == "error" else "")
        self.health.set_warning(decision.reason if decision.severity == "warn" else "")
        unseen = [each for each in state.readings if each.value is None]
        unknown = {each.name: f"{each.status.value}: {each.problem}" for each in unseen}
        self.health.replace_notes({"reason": decision.reason, **decision.facts, **unknown})
        for outcome in self._actuators.take():
            if outcome.is_problem:
                self.report_error(EdgeInferenceError(outcome.words), "actuator", lost=False)
            else:
                self.get_logger().info(outcome.words)

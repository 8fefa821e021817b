"""Shows on /diagnostics what holds the frames of a process up."""

from __future__ import annotations

from edge_inference.composition.bus import Bus
from edge_inference.composition.reception import Reception
from edge_inference.core.platform_state import PlatformReport
from edge_inference.core.runtime.health import HealthLevel, HealthStatus
from edge_inference.core.runtime.process_statistics import ProcessStatistics
from edge_inference.core.runtime.worker import Worker
from edge_inference.core.text_line import one_line
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.platform import PlatformReportAdapter
from edge_inference.observe.attribution.cause import Diagnosis
from edge_inference.observe.attribution.recent_window import RecentWindow

PERIOD_S = 10.0


class ProcessDiagnosis:
    """Diagnoses the stages of this process in a thread of its own, and shows the last result.

    The timings come by reference, so that this costs no message.
    """

    def __init__(self, node: Component) -> None:
        self._node = node
        self._window = RecentWindow()
        self._status: HealthStatus | None = None
        topic = node.resolve_topic_name("stage_timing")
        self._untap = Bus.of(node.context).tap(topic, self._window.add_timing)
        node.subscribe_to("platform_state", PlatformReportAdapter(), self._add_report)
        self._worker = node.make_worker(self._run)

    def add_statistics(self, statistics: ProcessStatistics) -> None:
        """Add what the process did."""
        self._window.add_statistics(statistics)

    def publish(self) -> None:
        """Publish the last result, if there is one."""
        if self._status is not None:
            name = f"{self._node.get_fully_qualified_name()}: what holds frames up"
            self._node.publish_status(self._status, name)

    def close(self) -> None:
        """End the thread."""
        self._untap()
        self._worker.end()

    def _add_report(self, report: PlatformReport, reception: Reception) -> None:
        del reception
        self._window.add_report(report)

    def _run(self, worker: Worker) -> None:
        while not worker.wait(PERIOD_S):
            self._status = _to_status(self._window.diagnose())


def _to_status(diagnosis: Diagnosis) -> HealthStatus:
    values = {"frames": str(diagnosis.frames), "window": f"{diagnosis.window_s:.1f} s"}
    for rank, finding in enumerate(diagnosis.findings, 1):
        values[f"cause {rank}"] = one_line(
            f"{finding.cause.value}, {finding.subject}: {finding.ms:.1f} ms a frame; "
            f"{finding.evidence}; to do: {finding.hint}"
        )
    level = HealthLevel.WARN if diagnosis.findings else HealthLevel.OK
    return HealthStatus(level, one_line(diagnosis.summary), values)

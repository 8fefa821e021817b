"""The targets of a file on /diagnostics, judged by the latency node."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from edge_inference.composition.pipeline import share_folder
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.diagnostics import judgment_to_status
from edge_inference.nodes.conversions.platform import PlatformReportAdapter
from edge_inference.nodes.conversions.process_statistics import ProcessStatisticsAdapter
from edge_inference.observe.targets.live_targets import LiveTargets
from edge_inference.observe.targets.target_file import find_targets, load_targets


class TargetDiagnostics:
    """Judges what the latency node receives; raises ConfigError for an invalid file."""

    def __init__(self, node: Component) -> None:
        settings = node.parameters.current
        file = load_targets(find_targets(settings.targets, share_folder()))
        self._node = node
        self._targets = LiveTargets(file, settings.targets_window_s, time.monotonic_ns())
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def start(self) -> None:
        """Subscribe to the resources of the processes and of the machine."""
        targets = self._targets

        # What tells how a message has arrived is not needed here.
        def add_process(statistics: Any, *arrival: Any) -> None:
            targets.add_process(statistics, time.monotonic_ns())

        def add_platform(report: Any, *arrival: Any) -> None:
            targets.add_platform(report, time.monotonic_ns())

        self._node.subscribe_to("process_statistics", ProcessStatisticsAdapter(), add_process)
        self._node.subscribe_to("platform_state", PlatformReportAdapter(), add_platform)

    def add(self, timing: StageTiming) -> None:
        """Add a frame of a stage."""
        self._targets.add_timing(timing, time.monotonic_ns())

    def publish(self) -> None:
        """Judge, and publish a status for each target."""
        self._targets.window_s = self._node.parameters.current.targets_window_s
        name, namespace = self._node.get_fully_qualified_name(), self._node.get_namespace()
        judgments = self._targets.update(time.monotonic_ns())
        message = DiagnosticArray(
            status=[judgment_to_status(each, name, namespace) for each in judgments]
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

"""Publishes the state of the machine, in the package's message and in standard ones."""

from __future__ import annotations

from edge_inference.core.platform_state import (
    PlatformReport,
    PlatformState,
    StampedDevice,
    StampedReading,
)
from edge_inference.core.reading import Role
from edge_inference.governor.state import GovernorDecision
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.platform import (
    BatteryAdapter,
    PlatformReportAdapter,
    TemperatureAdapter,
)


class PlatformReports:
    """Publishes ``platform_state``, ``temperature`` of the control zones, and ``battery_state``."""

    def __init__(self, node: Component) -> None:
        self._node = node
        self._reports = node.make_publisher("platform_state", PlatformReportAdapter())
        self._temperatures = node.make_publisher("temperature", TemperatureAdapter())
        self._batteries = node.make_publisher("battery_state", BatteryAdapter())

    def publish(self, state: PlatformState, decision: GovernorDecision, now_ns: int) -> None:
        """Publish the readings and the decision; ``now_ns`` is on the monotonic clock."""
        report = PlatformReport(
            state,
            decision.headroom,
            decision.throttling,
            decision.level,
            decision.reason,
            now_ns,
            self._node.now_ns(),
        )
        self._reports.publish(report)
        for reading in state.by_role(Role.CONTROL):
            self._temperatures.publish(StampedReading(reading, report.stamp_ns, reading.name))
        for battery in state.batteries:
            self._batteries.publish(StampedDevice(battery, report.stamp_ns, battery.name))

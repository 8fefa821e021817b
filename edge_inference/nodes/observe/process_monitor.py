"""The process monitor: publishes what its process does, and what holds its threads up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rclpy.timer import Timer

from edge_inference.composition.bus import Bus
from edge_inference.core.runtime.thread_times import clock_id
from edge_inference.core.settings import setting
from edge_inference.nodes.component import Component
from edge_inference.nodes.conversions.process_statistics import ProcessStatisticsAdapter
from edge_inference.nodes.observe.process_diagnosis import ProcessDiagnosis
from edge_inference.observe.process_meter import ProcessMeter

PUBLISH_PERIOD_S = 0.5
#: Between two looks at whether the executor is free.
_EXECUTOR_PERIOD_S = 0.05


@dataclass(frozen=True)
class ProcessMonitorSettings:
    """Parameters of the process monitor."""

    heartbeat: bool = setting(
        True,
        "a thread notices every 10 ms what holds the threads of the process up; false: only CPU "
        "time, memory, page faults and steps of the clock are measured",
    )
    diagnose: bool = setting(
        True,
        "/diagnostics shows what held the frames of the last 10 s up in this process",
        read_only=True,
    )


class ProcessMonitor(Component):
    """Publishes CPU time, memory, page faults and holds of its process at 2 Hz."""

    default_name = "process_monitor"
    default_namespace = "ai"
    settings_class = ProcessMonitorSettings

    def __init__(self, **node_arguments: Any) -> None:
        super().__init__(**node_arguments)
        self._meter: ProcessMeter | None = None
        self._diagnosis: ProcessDiagnosis | None = None
        self._timers_of_meter: list[Timer] = []

    def open(self) -> None:
        """Make the publisher."""
        self._statistics = self.make_publisher("process_statistics", ProcessStatisticsAdapter())

    def start(self) -> None:
        """Start to measure."""
        heartbeat = self.parameters.current.heartbeat
        self._meter = ProcessMeter(clock_id(), heartbeat, self.report_exception)
        if self.parameters.current.diagnose:
            self._diagnosis = ProcessDiagnosis(self)
        self._timers_of_meter = [
            self.make_timer(_EXECUTOR_PERIOD_S, self._note_executor),
            self.make_timer(PUBLISH_PERIOD_S, self._publish),
        ]

    def stop(self) -> None:
        """Stop measuring."""
        for timer in self._timers_of_meter:
            self.destroy_timer(timer)
        self._timers_of_meter = []
        if self._diagnosis is not None:
            self._diagnosis.close()
            self._diagnosis = None
        if self._meter is not None:
            self._meter.close()
            self._meter = None

    def on_change(self, settings: ProcessMonitorSettings) -> None:
        """Start or stop the heartbeat."""
        if self._meter is not None:
            self._meter.set_heartbeat(settings.heartbeat)

    def _note_executor(self) -> None:
        if self._meter is not None:
            self._meter.note_executor(round(_EXECUTOR_PERIOD_S * 1e9))

    def _publish(self) -> None:
        if self._meter is None:
            return
        statistics = self._meter.take(Bus.of(self.context).publishers())
        self._statistics.publish(dataclasses.replace(statistics, stamp_ns=self.now_ns()))
        if self._diagnosis is not None:
            self._diagnosis.add_statistics(statistics)
            self._diagnosis.publish()
        self.health.count_processed()

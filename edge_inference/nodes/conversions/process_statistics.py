"""Converts ProcessStatistics."""

from __future__ import annotations

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core.runtime import process_statistics as core
from edge_inference.errors import InputError
from edge_inference.msg import Hold, ProcessStatistics
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import (
    TIME_MS,
    NumberRange,
    from_optional,
    to_number,
    to_optional,
)

#: Maximum number of holds in a message; the longest are sent.
MAX_HOLDS = 64
_STEP_MS = NumberRange(-1e13, 1e13)
_MEMORY_MIB = NumberRange(0.0, 1e9)


class ProcessStatisticsAdapter(Adapter[core.ProcessStatistics]):
    """ProcessStatistics: a window of one process, and what held its threads up."""

    message_type = ProcessStatistics
    bounds = MessageBounds(counts={"holds": MAX_HOLDS, "nodes": 200})

    def to_message(self, item: core.ProcessStatistics) -> ProcessStatistics:
        """Build the message."""
        holds = sorted(item.holds, key=lambda hold: hold.wait_ms)[-MAX_HOLDS:]
        return ProcessStatistics(
            header=to_header(item.stamp_ns, item.frame_id),
            nodes=list(item.nodes),
            pid=item.pid,
            clock_id=item.clock_id,
            begin_ns=item.begin_ns,
            end_ns=item.end_ns,
            cpu_ms=float(item.cpu_ms),
            memory_mib=float(item.memory_mib),
            minor_faults=item.minor_faults,
            major_faults=item.major_faults,
            clock_step_ms=float(item.clock_step_ms),
            executor_ms=from_optional(item.executor_ms),
            holds=[
                Hold(
                    begin_ns=hold.begin_ns,
                    wait_ms=float(hold.wait_ms),
                    run_queue_ms=float(hold.run_queue_ms),
                    cpu_ms=from_optional(hold.cpu_ms),
                    is_stopped=hold.is_stopped,
                )
                for hold in sorted(holds, key=lambda hold: hold.begin_ns)
            ],
        )

    def from_message(self, message: ProcessStatistics) -> core.ProcessStatistics:
        """Build the object; raises InputError for figures out of range."""
        if message.end_ns < message.begin_ns:
            raise InputError(
                "ProcessStatistics: expected end_ns at begin_ns or later, got "
                f"{message.begin_ns} to {message.end_ns}"
            )

        def number(field: str, allowed: NumberRange) -> float:
            return to_number(getattr(message, field), allowed, f"ProcessStatistics: {field}")

        return core.ProcessStatistics(
            nodes=tuple(message.nodes),
            pid=message.pid,
            clock_id=message.clock_id,
            begin_ns=message.begin_ns,
            end_ns=message.end_ns,
            cpu_ms=number("cpu_ms", TIME_MS),
            memory_mib=number("memory_mib", _MEMORY_MIB),
            minor_faults=message.minor_faults,
            major_faults=message.major_faults,
            clock_step_ms=number("clock_step_ms", _STEP_MS),
            executor_ms=to_optional(message.executor_ms, TIME_MS, "ProcessStatistics: executor_ms"),
            holds=tuple(map(_from_hold, message.holds)),
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


def _from_hold(message: Hold) -> core.Hold:
    def number(field: str) -> float:
        return to_number(getattr(message, field), TIME_MS, f"ProcessStatistics: holds: {field}")

    return core.Hold(
        begin_ns=message.begin_ns,
        wait_ms=number("wait_ms"),
        run_queue_ms=number("run_queue_ms"),
        cpu_ms=to_optional(message.cpu_ms, TIME_MS, "ProcessStatistics: holds: cpu_ms"),
        is_stopped=message.is_stopped,
    )

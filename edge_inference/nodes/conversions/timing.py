"""Converts StageTiming and LatencyReport; unknown figures are NaN in messages, None in objects."""

from __future__ import annotations

from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.composition.message_bounds import MessageBounds
from edge_inference.core.runtime import latency as core
from edge_inference.core.runtime.capture_stamps import MAX_AGE_NS, STAMP_IN_PAST
from edge_inference.errors import InputError
from edge_inference.msg import EndToEndLatency, LatencyReport, StageLatency, StageTiming
from edge_inference.nodes.conversions.headers import stamp_ns, to_header
from edge_inference.nodes.conversions.numbers import (
    AGE_MS,
    RATE_HZ,
    TIME_MS,
    NumberRange,
    from_optional,
    to_number,
    to_optional,
)

_WINDOW_S = NumberRange(0.0, 1e6)


class StageTimingAdapter(Adapter[core.StageTiming]):
    """StageTiming: the times of one frame in one stage."""

    message_type = StageTiming

    def to_message(self, item: core.StageTiming) -> StageTiming:
        """Build the message."""
        return StageTiming(
            header=to_header(item.stamp_ns, item.frame_id),
            stage=item.stage,
            node=item.node,
            model=item.model,
            queue_ms=item.queue_ms,
            process_ms=from_optional(item.process_ms),
            age_ms=from_optional(item.age_ms),
            dropped=item.dropped,
            ended_ns=item.ended_ns,
            clock_id=item.clock_id,
            publish_ms=from_optional(item.publish_ms),
            receive_ms=from_optional(item.receive_ms),
            lost=item.lost,
            device_ms=from_optional(item.device_ms),
            cpu_ms=from_optional(item.cpu_ms),
            run_queue_ms=from_optional(item.run_queue_ms),
            page_faults=item.page_faults,
            clock_fault=item.clock_fault,
            publish_run_queue_ms=from_optional(item.publish_run_queue_ms),
        )

    def from_message(self, message: StageTiming) -> core.StageTiming:
        """Build the object; raises InputError for times out of range.

        An age that no latency can be is unknown, and a clock fault, whoever has sent it.
        """

        def time_ms(field: str) -> float | None:
            return to_optional(getattr(message, field), TIME_MS, f"StageTiming: {field}")

        queue_ms = to_number(message.queue_ms, TIME_MS, "StageTiming: queue_ms")
        process_ms = time_ms("process_ms")
        age_ms = to_optional(message.age_ms, AGE_MS, "StageTiming: age_ms")
        clock_fault = message.clock_fault
        if age_ms is not None and age_ms - queue_ms - (process_ms or 0.0) > MAX_AGE_NS / 1e6:
            age_ms, clock_fault = None, clock_fault or STAMP_IN_PAST
        return core.StageTiming(
            stage=message.stage,
            node=message.node,
            model=message.model,
            queue_ms=queue_ms,
            process_ms=process_ms,
            age_ms=age_ms,
            dropped=message.dropped,
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
            ended_ns=message.ended_ns,
            clock_id=message.clock_id,
            publish_ms=time_ms("publish_ms"),
            receive_ms=time_ms("receive_ms"),
            lost=message.lost,
            device_ms=time_ms("device_ms"),
            cpu_ms=time_ms("cpu_ms"),
            run_queue_ms=time_ms("run_queue_ms"),
            page_faults=message.page_faults,
            clock_fault=clock_fault,
            publish_run_queue_ms=time_ms("publish_run_queue_ms"),
        )


class LatencyReportAdapter(Adapter[core.LatencyReport]):
    """LatencyReport: the figures of all stages over a window."""

    message_type = LatencyReport
    bounds = MessageBounds(
        size=256 << 10,
        counts=dict.fromkeys(
            ("drop_reasons", "drop_counts", "clock_faults", "clock_fault_counts"), 64
        ),
    )

    def to_message(self, item: core.LatencyReport) -> LatencyReport:
        """Build the message."""
        return LatencyReport(
            header=to_header(item.stamp_ns, item.frame_id),
            window_s=item.window_s,
            deadline_ms=from_optional(item.deadline_ms),
            stages=[_to_stage(stage) for stage in item.stages],
            ends=[_to_end(end) for end in item.ends],
        )

    def from_message(self, message: LatencyReport) -> core.LatencyReport:
        """Build the object; figures that the message does not have are None.

        Raises InputError for figures out of range.
        """
        return core.LatencyReport(
            window_s=to_number(message.window_s, _WINDOW_S, "LatencyReport: window_s"),
            deadline_ms=to_optional(message.deadline_ms, TIME_MS, "LatencyReport: deadline_ms"),
            stages=tuple(_from_stage(stage) for stage in message.stages),
            ends=tuple(_from_end(end) for end in message.ends),
            stamp_ns=stamp_ns(message.header),
            frame_id=message.header.frame_id,
        )


def _to_stage(stage: core.StageLatency) -> StageLatency:
    return StageLatency(
        stage=stage.stage,
        node=stage.node,
        count=stage.count,
        window_count=stage.window_count,
        rate_hz=stage.rate_hz,
        mean_ms=from_optional(stage.process.mean),
        p50_ms=from_optional(stage.process.p50),
        p90_ms=from_optional(stage.process.p90),
        p95_ms=from_optional(stage.process.p95),
        p99_ms=from_optional(stage.process.p99),
        max_ms=from_optional(stage.process.max),
        queue_p50_ms=from_optional(stage.queue.p50),
        queue_p99_ms=from_optional(stage.queue.p99),
        age_p50_ms=from_optional(stage.age.p50),
        age_p99_ms=from_optional(stage.age.p99),
        drop_reasons=list(stage.drops),
        drop_counts=list(stage.drops.values()),
        receive_p50_ms=from_optional(stage.receive.p50),
        receive_p99_ms=from_optional(stage.receive.p99),
        transport_p50_ms=from_optional(stage.transport.p50),
        transport_p99_ms=from_optional(stage.transport.p99),
        device_p50_ms=from_optional(stage.device.p50),
        device_p99_ms=from_optional(stage.device.p99),
        publish_p50_ms=from_optional(stage.publish.p50),
        publish_p99_ms=from_optional(stage.publish.p99),
        published_age_p50_ms=from_optional(stage.published_age.p50),
        published_age_p95_ms=from_optional(stage.published_age.p95),
        published_age_p99_ms=from_optional(stage.published_age.p99),
        published_age_max_ms=from_optional(stage.published_age.max),
        deadline_misses=stage.deadline_misses,
        clock_faults=list(stage.clock_faults),
        clock_fault_counts=list(stage.clock_faults.values()),
    )


def _from_stage(message: StageLatency) -> core.StageLatency:
    subject = f"LatencyReport: stage {message.stage!r}"

    def time_ms(field: str, allowed: NumberRange = TIME_MS) -> float | None:
        return to_optional(getattr(message, field), allowed, f"{subject}: {field}")

    def ends(field: str) -> core.Percentiles:
        return core.Percentiles(p50=time_ms(f"{field}_p50_ms"), p99=time_ms(f"{field}_p99_ms"))

    return core.StageLatency(
        stage=message.stage,
        node=message.node,
        count=message.count,
        window_count=message.window_count,
        rate_hz=to_number(message.rate_hz, RATE_HZ, f"{subject}: rate_hz"),
        process=core.Percentiles(
            mean=time_ms("mean_ms"),
            p50=time_ms("p50_ms"),
            p90=time_ms("p90_ms"),
            p95=time_ms("p95_ms"),
            p99=time_ms("p99_ms"),
            max=time_ms("max_ms"),
        ),
        queue=ends("queue"),
        age=core.Percentiles(p50=time_ms("age_p50_ms", AGE_MS), p99=time_ms("age_p99_ms", AGE_MS)),
        drops=_read_counts(message, subject, "drop_reasons", "drop_counts"),
        receive=ends("receive"),
        transport=core.Percentiles(
            p50=time_ms("transport_p50_ms", AGE_MS), p99=time_ms("transport_p99_ms", AGE_MS)
        ),
        device=ends("device"),
        publish=ends("publish"),
        published_age=core.Percentiles(
            p50=time_ms("published_age_p50_ms", AGE_MS),
            p95=time_ms("published_age_p95_ms", AGE_MS),
            p99=time_ms("published_age_p99_ms", AGE_MS),
            max=time_ms("published_age_max_ms", AGE_MS),
        ),
        deadline_misses=int(message.deadline_misses),
        clock_faults=_read_counts(message, subject, "clock_faults", "clock_fault_counts"),
    )


def _to_end(end: core.EndToEndLatency) -> EndToEndLatency:
    return EndToEndLatency(
        stage=end.stage,
        node=end.node,
        count=end.count,
        p50_ms=from_optional(end.recent.p50),
        p95_ms=from_optional(end.recent.p95),
        p99_ms=from_optional(end.recent.p99),
        max_ms=from_optional(end.recent.max),
        whole_p50_ms=from_optional(end.whole.p50),
        whole_p95_ms=from_optional(end.whole.p95),
        whole_p99_ms=from_optional(end.whole.p99),
        whole_max_ms=from_optional(end.whole.max),
        deadline_misses=end.deadline_misses,
        clock_faults=list(end.clock_faults),
        clock_fault_counts=list(end.clock_faults.values()),
    )


def _from_end(message: EndToEndLatency) -> core.EndToEndLatency:
    subject = f"LatencyReport: end {message.stage!r}"

    def percentiles(prefix: str) -> core.Percentiles:
        return core.Percentiles(
            **{
                name: to_optional(
                    getattr(message, f"{prefix}{name}_ms"), AGE_MS, f"{subject}: {prefix}{name}_ms"
                )
                for name in ("p50", "p95", "p99", "max")
            }
        )

    return core.EndToEndLatency(
        stage=message.stage,
        node=message.node,
        count=int(message.count),
        recent=percentiles(""),
        whole=percentiles("whole_"),
        deadline_misses=int(message.deadline_misses),
        clock_faults=_read_counts(message, subject, "clock_faults", "clock_fault_counts"),
    )


def _read_counts(message: Any, subject: str, names: str, numbers: str) -> dict[str, int]:
    """Return a number for each name; raises InputError where there are not as many."""
    keys, values = getattr(message, names), getattr(message, numbers)
    if len(keys) != len(values):
        raise InputError(
            f"{subject}: expected a count for each of {len(keys)} {names}, got {len(values)}"
        )
    return dict(zip(keys, map(int, values), strict=True))

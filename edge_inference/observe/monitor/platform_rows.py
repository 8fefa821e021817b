"""The machine and its sensors as rows of a snapshot."""

from __future__ import annotations

from edge_inference.core.platform_state import PlatformReport, PlatformState
from edge_inference.core.reading import Quantity, Reading, Role
from edge_inference.core.text_line import one_line
from edge_inference.observe.monitor.snapshot import PlatformRow, ReadingRow

#: The source of a row whose sensors this process has read itself.
OWN_SENSORS = "this machine's own sensors"
_MAX_READINGS = 512
_MAX_NAME, _MAX_SENTENCE = 200, 500


def make_report_row(report: PlatformReport, topic: str, age_s: float) -> PlatformRow:
    """Return the row of the platform manager's report; ``topic`` is its full name."""
    return _make_row(
        report.state,
        topic,
        age_s,
        level=report.level.name.lower(),
        reason=one_line(report.reason, _MAX_SENTENCE),
        headroom=report.headroom,
        throttling=report.throttling,
    )


def make_own_row(state: PlatformState, age_s: float) -> PlatformRow:
    """Return the row of sensors that this process has read; nobody manages the machine."""
    throttling = tuple(
        reading.name
        for reading in state.by_role(Role.THROTTLE)
        if reading.quantity is Quantity.STATE and reading.value
    )
    return _make_row(state, OWN_SENSORS, age_s, throttling=throttling)


def _make_row(
    state: PlatformState,
    source: str,
    age_s: float,
    *,
    level: str = "",
    reason: str = "",
    headroom: float | None = None,
    throttling: tuple[str, ...] = (),
) -> PlatformRow:
    hottest = state.hottest
    return PlatformRow(
        board=one_line(state.board, _MAX_NAME),
        mode=one_line(state.mode, _MAX_NAME),
        level=level,
        reason=reason,
        headroom=headroom,
        power_w=state.power_w,
        hottest_c=None if hottest is None else hottest.value,
        hottest_name="" if hottest is None else one_line(hottest.name, _MAX_NAME),
        cpu_share=_find_share(state, "cpu/load"),
        gpu_share=_find_gpu_share(state),
        memory_share=_find_share(state, "memory/used"),
        throttling=tuple(one_line(each, _MAX_NAME) for each in throttling[:_MAX_READINGS]),
        problem=one_line(state.problem, _MAX_SENTENCE),
        readings=tuple(map(_make_reading, state.readings[:_MAX_READINGS])),
        source=source,
        age_s=age_s,
    )


def _find_share(state: PlatformState, name: str) -> float | None:
    reading = state.named(name)
    return None if reading is None else reading.value


def _find_gpu_share(state: PlatformState) -> float | None:
    """Return the load of the busiest GPU; a Jetson's is gpu/…/load, a card's is nvml/…/load."""
    loads = [
        reading.value
        for reading in state.readings
        if reading.name.startswith(("gpu/", "nvml/"))
        and reading.name.endswith("/load")
        and reading.value is not None
    ]
    return max(loads, default=None)


def _make_reading(reading: Reading) -> ReadingRow:
    if reading.value is None:
        text = reading.problem or reading.status.value
    else:
        text = reading.quantity.describe(reading.value)
    limits = [each for each in (reading.limit, reading.throttle) if each is not None]
    return ReadingRow(
        name=one_line(reading.name, _MAX_NAME),
        quantity=reading.quantity.value,
        value=reading.value,
        unit=reading.quantity.unit,
        text=one_line(text, _MAX_SENTENCE),
        status=reading.status.value,
        role=reading.role.value,
        limit=min(limits, default=None),
    )

"""Settings of the governor."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.settings import setting

PRESETS = ("ramp", "predictive", "off")


@dataclass(frozen=True)
class GovernorSettings:
    """Limits, budgets and times. The defaults suit every machine; none is tuned to one."""

    preset: str = setting(
        "ramp",
        "ramp lowers rates by temperature alone; predictive keeps a power budget and changes "
        "engines first; off reduces nothing",
        choices=PRESETS,
    )
    limits_from: str = setting(
        "absolute",
        "absolute uses throttle_c and max_c as they are; board sets max_c trip_margin_c below the "
        "temperature at which the board throttles, and keeps the distance to throttle_c",
        choices=("absolute", "board"),
    )
    throttle_c: float = setting(
        70.0, "temperature from which nodes are reduced", unit="°C", minimum=0.0, maximum=125.0
    )
    max_c: float = setting(
        80.0, "temperature that must not be exceeded", unit="°C", minimum=0.0, maximum=125.0
    )
    release_c: float = setting(
        5.0,
        "ramp: after throttling, full speed comes back this far below throttle_c",
        unit="°C",
        minimum=0.0,
        maximum=50.0,
    )
    trip_margin_c: float = setting(
        4.0,
        "limits_from board: distance of max_c below the throttling temperature of the board",
        unit="°C",
        minimum=0.0,
        maximum=40.0,
    )
    target_margin_c: float = setting(
        4.0,
        "predictive: distance of the target temperature below max_c",
        unit="°C",
        minimum=1.0,
        maximum=30.0,
    )
    forecast_s: float = setting(
        8.0, "time span of the temperature forecast", unit="s", minimum=0.0, maximum=60.0
    )
    minimum_factor: float = setting(
        0.1, "share of the demand that remains at the limit", minimum=0.01, maximum=1.0
    )
    safe_rate_hz: float = setting(
        1.0,
        "minimum rate of a node that declares none",
        unit="Hz",
        minimum=0.01,
        maximum=1000.0,
    )
    power_limit_w: float = setting(
        0.0, "maximum power of the board; 0 for no limit", unit="W", minimum=0.0
    )
    minutes_to_last: float = setting(
        0.0,
        "time that the battery must last, from the moment this is set; 0 for no plan",
        unit="min",
        minimum=0.0,
    )
    battery_reserve: float = setting(
        0.05, "share of the battery that the plan leaves unused", minimum=0.0, maximum=0.9
    )
    allow_unmonitored: bool = setting(
        False, "true: run at full speed on a machine that never reported a temperature"
    )
    sensor_timeout_s: float = setting(
        3.0,
        "time without a control temperature after which nodes go to the safe level",
        unit="s",
        minimum=0.1,
        maximum=60.0,
    )
    dwell_down_s: float = setting(
        10.0, "minimum time between two changes to a cheaper engine", unit="s", minimum=0.0
    )
    dwell_up_s: float = setting(
        60.0,
        "minimum time before a more expensive engine; six times as long if the last one could "
        "not be kept",
        unit="s",
        minimum=0.0,
    )
    acknowledge_timeout_s: float = setting(
        5.0,
        "time after which a node that does not follow its directive is reduced further",
        unit="s",
        minimum=0.5,
        maximum=600.0,
    )
    fp16_cost: float = setting(
        0.6,
        "assumed duration of an fp16 inference relative to fp32, until it is measured",
        minimum=0.01,
        maximum=1.0,
    )
    int8_cost: float = setting(
        0.4,
        "assumed duration of an int8 inference relative to fp32, until it is measured",
        minimum=0.01,
        maximum=1.0,
    )

    def check(self) -> str | None:
        """Return the conflict between settings, or None."""
        if self.throttle_c >= self.max_c:
            return (
                f"throttle_c: expected less than max_c ({self.max_c:g} °C), "
                f"got {self.throttle_c:g}; lower it or raise max_c"
            )
        if self.int8_cost > self.fp16_cost:
            return (
                f"int8_cost: expected at most fp16_cost ({self.fp16_cost:g}), "
                f"got {self.int8_cost:g}"
            )
        return None

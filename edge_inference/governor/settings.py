"""What the governor can be told."""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.settings import setting

PRESETS = ("ramp", "predictive", "off")


@dataclass(frozen=True)
class GovernorSettings:
    """Limits, budgets and patience. The same for every machine; nothing is tuned to one."""

    preset: str = setting(
        "ramp",
        "ramp lowers the rate by temperature alone; predictive keeps a power budget and changes "
        "engines first; off asks nothing of anybody",
        choices=PRESETS,
    )
    limits_from: str = setting(
        "absolute",
        "absolute takes throttle_c and max_c as they are; board puts max_c trip_margin_c below "
        "the temperature at which the machine slows itself down, and throttle_c as far below",
        choices=("absolute", "board"),
    )
    throttle_c: float = setting(
        70.0, "temperature from which less is asked", unit="°C", minimum=0.0, maximum=125.0
    )
    max_c: float = setting(
        80.0, "temperature that is not to be passed", unit="°C", minimum=0.0, maximum=125.0
    )
    release_c: float = setting(
        5.0,
        "once less was asked, full speed comes back this far below throttle_c",
        unit="°C",
        minimum=0.0,
        maximum=50.0,
    )
    trip_margin_c: float = setting(
        4.0,
        "with limits_from board: how far max_c stays below the machine's own throttling",
        unit="°C",
        minimum=0.0,
        maximum=40.0,
    )
    target_margin_c: float = setting(
        4.0,
        "predictive: how far below max_c the temperature is held",
        unit="°C",
        minimum=1.0,
        maximum=30.0,
    )
    forecast_s: float = setting(
        8.0, "how far ahead the temperature is forecast", unit="s", minimum=0.0, maximum=60.0
    )
    minimum_factor: float = setting(
        0.1, "share of the demand that is left at the limit", minimum=0.01, maximum=1.0
    )
    safe_rate_hz: float = setting(
        1.0,
        "least rate of a node that names none itself",
        unit="Hz",
        minimum=0.01,
        maximum=1000.0,
    )
    power_limit_w: float = setting(
        0.0, "most that the board may take in; 0 for no limit", unit="W", minimum=0.0
    )
    minutes_to_last: float = setting(
        0.0,
        "how long the battery is to last, from the moment this is set; 0 does not plan",
        unit="min",
        minimum=0.0,
    )
    battery_reserve: float = setting(
        0.05, "share of the battery that is not planned with", minimum=0.0, maximum=0.9
    )
    allow_unmonitored: bool = setting(
        False, "work at full speed on a machine that never showed a temperature"
    )
    sensor_timeout_s: float = setting(
        3.0,
        "without a temperature that decides for this long, nodes go to the safe level",
        unit="s",
        minimum=0.1,
        maximum=60.0,
    )
    dwell_down_s: float = setting(
        10.0, "least time between two changes to a cheaper engine", unit="s", minimum=0.0
    )
    dwell_up_s: float = setting(
        60.0,
        "least time before a dearer engine; six times as long after one that could not be kept",
        unit="s",
        minimum=0.0,
    )
    acknowledge_s: float = setting(
        5.0,
        "a node that has not taken over what was asked after this is asked for more",
        unit="s",
        minimum=0.5,
        maximum=600.0,
    )
    fp16_cost: float = setting(
        0.6,
        "time of an fp16 inference beside fp32, assumed until it is measured",
        minimum=0.01,
        maximum=1.0,
    )
    int8_cost: float = setting(
        0.4,
        "time of an int8 inference beside fp32, assumed until it is measured",
        minimum=0.01,
        maximum=1.0,
    )

    def check(self) -> str | None:
        """Return what is wrong between settings."""
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

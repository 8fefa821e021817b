"""The keys of a sensor that a board file declares: a text file with one number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_inference.core.reading import PLAUSIBLE_TRIP_C, Quantity, Role
from edge_inference.core.settings import setting
from edge_inference.platforms.file_patterns import (
    describe_path_error,
    has_wildcards,
    is_kernel_file,
)

_MAX_NAME_CHARS = 80


@dataclass(frozen=True)
class BoardSensor:
    """A file with one decimal number, such as a BMS daemon or the bridge of a controller writes."""

    name: str = setting(
        description="name of the reading, such as battery_pack/temperature",
        max_length=_MAX_NAME_CHARS,
    )
    file: str = setting(
        description="path of the file from the root, such as run/bms/temperature; without '..'"
    )
    quantity: str = setting(
        description="what is measured, in "
        + ", ".join(each.unit for each in Quantity if each.unit)
        + " (UCUM), or as a share from 0 to 1",
        choices=[each.value for each in Quantity],
    )
    role: str = setting(
        "none",
        "purpose of the reading: a control temperature is limited by the governor",
        choices=[each.value for each in Role if each is not Role.RAILS_SUM],
    )
    device: str = setting(
        "",
        "what the reading belongs to, such as battery_pack: all readings of a battery name the "
        "same; empty: a device of its own",
        max_length=_MAX_NAME_CHARS,
    )
    scale: float = setting(1.0, "the value is number * scale + offset, in the unit of quantity")
    offset: float = setting(0.0, "see scale; such as -273.15 for a number in kelvin")
    min_value: float = setting(
        -math.inf,
        "a lower value is invalid; so is one that the quantity cannot have: below the board's "
        "min_c, or a share, count, frequency, energy or electric charge below 0",
    )
    max_value: float = setting(
        math.inf,
        "a higher value is invalid; so is one that the quantity cannot have: above the board's "
        "max_c, or a share above 1",
    )
    max_age_s: float = setting(
        math.inf,
        "the reading is stale unless the file was written within this time; required for a role, "
        "because the program that writes the file may have ended; not for files of the kernel",
        unit="s",
        minimum=0.1,
    )
    limit: float = setting(
        math.inf,
        "control temperature of something else than the processor, such as a battery: the governor "
        "keeps it below this, where max_c is higher",
        unit="°C",
    )
    throttle: float = setting(
        math.inf, "the device throttles from this value on; inf: never", unit="of quantity"
    )
    critical: float = setting(
        math.inf, "the device shuts down at this value; inf: never", unit="of quantity"
    )

    def check(self) -> str | None:
        """Return what contradicts itself, None if nothing does."""
        if error := describe_path_error(self.file):
            return f"file: {error}"
        if has_wildcards(self.file):
            return f"file: expected the path of one file, got the pattern {self.file!r}"
        if (
            not self.name.isprintable()
            or not self.name.strip("/ ")
            or self.name != self.name.strip()
        ):
            return f"name: expected a name such as battery_pack/temperature, got {self.name!r}"
        if not self.device.isprintable():
            return f"device: expected a name such as battery_pack, got {self.device!r}"
        if Role(self.role).is_of_battery and not self.device:
            return f"device: missing; role {self.role} needs the name of its battery"
        if not self.scale:
            return "scale: expected another number than 0, which would hide what the file says"
        if self.min_value >= self.max_value:
            return f"min_value ({self.min_value:g}) must be below max_value ({self.max_value:g})"
        role = Role(self.role)
        return (
            role.objection(Quantity(self.quantity))
            or self._describe_age_error(role)
            or self._describe_limit_error(role)
        )

    def _describe_age_error(self, role: Role) -> str | None:
        is_given = self.max_age_s < math.inf
        if is_kernel_file(self.file):
            return (
                f"max_age_s: {self.file} is a file of the kernel, whose time of writing says "
                "nothing; leave max_age_s out"
                if is_given
                else None
            )
        if role is not Role.NONE and not is_given:
            return (
                f"max_age_s: missing; role {role.value} needs it, because the program that writes "
                f"{self.file} may have ended"
            )
        return None

    def _describe_limit_error(self, role: Role) -> str | None:
        if role is not Role.CONTROL:
            return "limit: only for role control" if self.limit < math.inf else None
        lowest, highest = PLAUSIBLE_TRIP_C
        for name in ("throttle", "critical"):
            trip = getattr(self, name)
            if trip < math.inf and not lowest <= trip <= highest:
                return (
                    f"{name}: expected {lowest:g} to {highest:g} °C, got {trip:g}; the governor "
                    "keeps a temperature below 'limit', at any value"
                )
        if not self.min_value < self.limit:
            return f"limit ({self.limit:g}) must be above min_value ({self.min_value:g})"
        return None

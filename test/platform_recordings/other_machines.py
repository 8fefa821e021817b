"""Machines other than Jetsons."""

from __future__ import annotations

from layouts import (
    FORBIDDEN,
    Files,
    cooling,
    cpu,
    device_tree,
    dmi,
    hwmon,
    lines,
    power_supply,
    processor,
    rapl,
    zones,
)

RAPL_HIGHEST = 262143328850


def pc(package_uj: int = 91230000000, cores_uj: int = 40120000000, ticks: int = 0) -> Files:
    """A desktop with an Intel processor, RAPL readable."""
    return {
        **dmi("ASUS", "System Product Name", "PRIME Z690-P", 3),
        **zones(("acpitz", 27800), trips=(("critical", 105000),)),
        **zones(("x86_pkg_temp", 46000), trips=(("passive", 0), ("passive", 0)), first=1),
        **cooling(("Processor", 0, 10), ("Processor", 0, 10), ("intel_powerclamp", -1, 100)),
        **hwmon(
            1,
            {
                "name": "coretemp",
                "temp1_label": "Package id 0",
                "temp1_input": 46000,
                "temp1_max": 100000,
                "temp1_crit": 100000,
                "temp2_label": "Core 0",
                "temp2_input": 43000,
            },
        ),
        **hwmon(2, {"name": "nvme", "temp1_label": "Composite", "temp1_input": 38850}),
        **rapl("intel-rapl:0", "package-0", package_uj, RAPL_HIGHEST),
        **rapl("intel-rapl:0:0", "core", cores_uj, RAPL_HIGHEST),
        **cpu({0: range(1), 1: range(1, 2)}, (800000, 3600000, 5000000)),
        **processor(2, 32012, busy=20000 + ticks, idle=180000 + ticks),
    }


def laptop(energy_uwh: int = 31400000, power_uw: int = 14250000) -> Files:
    """A laptop on its battery; RAPL is for root only, and the mouse has a battery too."""
    return {
        **dmi("LENOVO", "20XW0026GE", "20XW0026GE", 10),
        **zones(("acpitz", 51000), trips=(("critical", 128000),)),
        **zones(("x86_pkg_temp", 53000), first=1),
        **cooling(("Processor", 0, 3), ("TCC Offset", 0, 63)),
        **rapl("intel-rapl:0", "package-0", FORBIDDEN, RAPL_HIGHEST),
        **rapl("intel-rapl:1", "psys", FORBIDDEN, RAPL_HIGHEST),
        **power_supply("AC", {"type": "Mains", "online": 0}),
        **power_supply(
            "BAT0",
            {
                "type": "Battery",
                "status": "Discharging",
                "present": 1,
                "technology": "Li-poly",
                "capacity": 58,
                "voltage_now": 15512000,
                "voltage_min_design": 15440000,
                "power_now": power_uw,
                "energy_now": energy_uwh,
                "energy_full": 54010000,
                "energy_full_design": 57000000,
            },
        ),
        **power_supply(
            "hidpp_battery_0",
            {"type": "Battery", "scope": "Device", "online": 1, "capacity": 90},
        ),
        **cpu({0: range(1), 1: range(1, 2)}, (400000, 1800000, 4200000)),
        **processor(2, 15750),
    }


def two_batteries(charger: bool = False, exchangeable: bool = True) -> Files:
    """A notebook with a nearly empty built-in battery and an exchangeable one.

    Without its charger it empties the exchangeable battery first, and the driver of the other one
    says that it is not charging. ``exchangeable`` is False when that battery is taken out.
    """
    place: dict[str, object] = {"type": "Battery", "status": "Unknown", "present": 0}
    return {
        **dmi("LENOVO", "20L50000GE", "20L50000GE", 10),
        **zones(("acpitz", 48000), trips=(("critical", 128000),)),
        **zones(("x86_pkg_temp", 49000), first=1),
        **cooling(("Processor", 0, 3)),
        **rapl("intel-rapl:0", "package-0", FORBIDDEN, RAPL_HIGHEST),
        **power_supply("AC", {"type": "Mains", "online": int(charger)}),
        **power_supply(
            "BAT0",
            {
                "type": "Battery",
                "status": "Charging" if charger else "Not charging",
                "present": 1,
                "technology": "Li-poly",
                "capacity": 10,
                "voltage_now": 11400000,
                "voltage_min_design": 11400000,
                "power_now": 20000000 if charger else 0,
                "energy_now": 2400000,
                "energy_full": 24000000,
                "energy_full_design": 24000000,
            },
        ),
        **power_supply(
            "BAT1",
            {
                "type": "Battery",
                "status": "Not charging" if charger else "Discharging",
                "present": 1,
                "technology": "Li-ion",
                "capacity": 90,
                "voltage_now": 12100000,
                "voltage_min_design": 11100000,
                "current_now": 0 if charger else 1000000,
                "charge_now": 5800000,
                "charge_full": 6400000,
                "charge_full_design": 6500000,
            }
            if exchangeable
            else place,
        ),
        **cpu({0: range(1), 1: range(1, 2)}, (400000, 1900000, 3600000)),
        **processor(2, 15750),
    }


def raspberry_pi() -> Files:
    """Raspberry Pi 5: one zone, no power."""
    return {
        **device_tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712"),
        **zones(("cpu-thermal", 56100), trips=(("critical", 110000), ("active", 50000))),
        **cooling(("pwm-fan", 1, 4)),
        **hwmon(0, {"name": "cpu_thermal", "temp1_input": 56100, "temp1_crit": 110000}),
        **hwmon(1, {"name": "rpi_volt"}),
        **cpu({0: range(4)}, (1500000, 1500000, 2400000)),
        **processor(4, 8053),
    }


def server() -> Files:
    """A server without thermal zones; its temperatures are on hwmon chips only."""
    return {
        **dmi("Supermicro", "AS -1024US-TRT", "H12DSU-iN", 1),
        **cooling(("Processor", 0, 0), ("Processor", 0, 0)),
        **hwmon(
            0,
            {
                "name": "k10temp",
                "temp1_label": "Tctl",
                "temp1_input": 58250,
                "temp3_label": "Tccd1",
                "temp3_input": 55500,
            },
        ),
        **cpu({0: range(1), 1: range(1, 2)}, (1500000, 2450000, 3529052)),
        **processor(2, 257500),
    }


def bare_machine() -> Files:
    """A virtual machine: only load and memory."""
    return {**processor(2, 3900), **lines({"online": "0-1"}, "sys/devices/system/cpu")}

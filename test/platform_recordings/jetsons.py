"""The Jetson boards, by their documented layouts."""

from __future__ import annotations

from layouts import (
    GATED,
    Files,
    cooling,
    cpu,
    devfreq,
    device_tree,
    hwmon,
    ina3221,
    ina3221x,
    over_current,
    power_mode,
    processor,
    zones,
)

PLACEHOLDER = 100000
JETPACK_5_GATED = -256000
ORIN_TRIPS = (("hot", 70000), ("passive", 99000), ("critical", 104500))
ORIN_ALERTS = tuple(
    (f"{unit}-throttle-alert", 0, 1) for unit in ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0")
)
ORIN_GPU = [306000000, 408000000, 510000000, 612000000, 714000000, 816000000, 918000000]


def nano() -> Files:
    """Jetson Nano, JetPack 4: rails in iio, a placeholder that reads 100 °C."""
    return {
        **device_tree(
            "NVIDIA Jetson Nano Developer Kit",
            "nvidia,p3449-0000-b00+p3448-0000-b00",
            "nvidia,jetson-nano",
            "nvidia,tegra210",
        ),
        **zones(
            ("AO-therm", 41500),
            ("CPU-therm", 36500),
            ("GPU-therm", 35000),
            ("PLL-therm", 34500),
            ("PMIC-Die", PLACEHOLDER),
            ("thermal-fan-est", 35750),
            trips=(("passive", 97000), ("critical", 102500)),
        ),
        **cooling(("cpu-balanced", 0, 12), ("gpu-balanced", 0, 8), ("pwm-fan", 2, 9)),
        **ina3221x(
            "6-0040",
            0,
            ("POM_5V_IN", 5080, 612),
            ("POM_5V_GPU", 5072, 40),
            ("POM_5V_CPU", 5072, 168),
        ),
        **devfreq("57000000.gpu", [76800000, 460800000, 921600000], 460800000, load=280),
        **cpu({0: range(4)}, (102000, 1224000, 1479000)),
        **processor(4, 3964),
        **power_mode(0, 0, {0: "MAXN", 1: "5W"}),
    }


def agx_xavier() -> Files:
    """AGX Xavier, JetPack 4: two chips in iio, no rail of the total input."""
    return {
        **device_tree("Jetson-AGX", "nvidia,p2972-0000", "nvidia,jetson-xavier", "nvidia,tegra194"),
        **zones(
            ("CPU-therm", 38000),
            ("GPU-therm", 37500),
            ("AUX-therm", 36500),
            ("AO-therm", 37000),
            ("PMIC-Die", PLACEHOLDER),
            ("Tboard_tegra", 34000),
            ("Tdiode_tegra", 37250),
            ("thermal-fan-est", 37600),
            trips=(("passive", 86000), ("critical", 96000)),
        ),
        **cooling(("cpu-balanced", 0, 20), ("gpu-balanced", 0, 9), ("pwm-fan", 0, 9)),
        **ina3221x("1-0040", 0, ("GPU", 19088, 64), ("CPU", 19088, 80), ("SOC", 19088, 112)),
        **ina3221x("1-0041", 1, ("CV", 19088, 0), ("VDDRQ", 19088, 32), ("SYS5V", 5040, 480)),
        **devfreq("17000000.gv11b", [114750000, 624750000, 1377000000], 624750000, load=410),
        **cpu({0: range(2), 2: range(2, 4)}, (115200, 1190400, 2265600)),
        **processor(4, 31920),
        **power_mode(2, 2, {0: "MAXN", 1: "MODE_10W", 2: "MODE_15W", 3: "MODE_30W_ALL"}),
    }


def xavier_nx() -> Files:
    """Xavier NX, JetPack 5: rails in hwmon."""
    return {
        **device_tree(
            "NVIDIA Jetson Xavier NX Developer Kit",
            "nvidia,p3509-0000+p3668-0000",
            "nvidia,p3668-0000",
            "nvidia,tegra194",
        ),
        **zones(
            ("CPU-therm", 43500),
            ("GPU-therm", 42500),
            ("AUX-therm", 42000),
            ("AO-therm", 42500),
            ("PMIC-Die", PLACEHOLDER),
            ("thermal-fan-est", 42800),
            trips=(("passive", 90500), ("critical", 96000)),
        ),
        **cooling(("cpufreq-cpu0", 0, 24), ("devfreq-17000000.gv11b", 0, 14), ("pwm-fan", 3, 9)),
        **ina3221(
            3,
            "7-0040",
            ("VDD_IN", 4968, 1144),
            ("VDD_CPU_GPU_CV", 4960, 240),
            ("VDD_SOC", 4960, 256),
        ),
        **over_current(1, 0, 0, 0),
        **devfreq("17000000.gv11b", [114750000, 510000000, 1109250000], 510000000, load=350),
        **cpu({0: range(2), 2: range(2, 4), 4: range(4, 6)}, (115200, 1190400, 1907200)),
        **processor(6, 6857),
        **power_mode(3, 2, {0: "MODE_15W_2CORE", 2: "MODE_15W_6CORE", 3: "MODE_10W_2CORE"}),
    }


def orin_nx(
    tj: int = 49500, input_ma: int = 1480, core_ma: int = 424, count: int = 8, load: int = 450
) -> Files:
    """Orin NX, JetPack 6: switched-off units answer EAGAIN; VDD_IN is the input."""
    return {
        **device_tree(
            "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
            "nvidia,p3768-0000+p3767-0000",
            "nvidia,p3767-0000",
            "nvidia,tegra234",
        ),
        **orin_zones(tj),
        **cooling(
            ("cpufreq-cpu0", 0, 30),
            ("cpufreq-cpu4", 0, 30),
            *ORIN_ALERTS,
            ("hot-surface-alert", 0, 1),
            ("devfreq-17000000.gpu", 0, 6),
            ("pwm-fan", 1, 3),
        ),
        **ina3221(
            1,
            "1-0040",
            ("VDD_IN", 5040, input_ma),
            ("VDD_CPU_GPU_CV", 5032, core_ma),
            ("VDD_SOC", 5032, 296),
        ),
        **over_current(2, 0, 0, 0),
        **devfreq("17000000.gpu", ORIN_GPU, 612000000, load=load),
        **cpu({0: range(4), 4: range(4, count)}, (115200, 1420800, 1984000)),
        **processor(count, 15656),
        **power_mode(3, 0, {0: "MAXN", 1: "10W", 2: "15W", 3: "25W"}),
    }


def orin_zones(tj: int) -> Files:
    """The zones of an Orin with JetPack 6, for the temperature of the hottest one."""
    soc = tj // 2000 * 2000 - 1000
    return zones(
        ("cpu-thermal", tj - 250),
        ("gpu-thermal", tj - 1500),
        ("cv0-thermal", GATED),
        ("cv1-thermal", GATED),
        ("cv2-thermal", GATED),
        ("soc0-thermal", soc),
        ("soc1-thermal", soc + 250),
        ("soc2-thermal", soc + 125),
        ("tj-thermal", tj),
        trips=ORIN_TRIPS,
    )


def orin_nano() -> Files:
    """Orin Nano, JetPack 6: as the NX, with fewer cores."""
    return {
        **orin_nx(tj=47000, input_ma=1040, core_ma=208, count=6, load=0),
        **device_tree(
            "NVIDIA Jetson Orin Nano Developer Kit",
            "nvidia,p3768-0000+p3767-0005",
            "nvidia,p3767-0005",
            "nvidia,tegra234",
        ),
        **cpu({0: range(4), 4: range(4, 6)}, (115200, 729600, 1510400)),
        **processor(6, 7620),
        **power_mode(0, 0, {0: "15W", 1: "7W"}),
    }


def agx_orin() -> Files:
    """AGX Orin, JetPack 5: switched-off units read -256 °C, two chips, unconnected rails."""
    return {
        **device_tree(
            "NVIDIA Jetson AGX Orin Developer Kit",
            "nvidia,p3737-0000+p3701-0000",
            "nvidia,p3701-0000",
            "nvidia,tegra234",
        ),
        **zones(
            ("CPU-therm", 48218),
            ("GPU-therm", JETPACK_5_GATED),
            ("CV0-therm", JETPACK_5_GATED),
            ("CV1-therm", JETPACK_5_GATED),
            ("CV2-therm", JETPACK_5_GATED),
            ("SOC0-therm", 44875),
            ("SOC1-therm", 44500),
            ("SOC2-therm", 44656),
            ("tj-therm", 48218),
            trips=ORIN_TRIPS,
        ),
        **cooling(*ORIN_ALERTS, ("hot-surface-alert", 0, 1), ("pwm-fan", 0, 9)),
        **ina3221(
            2,
            "1-0040",
            ("VDD_GPU_SOC", 19880, 160),
            ("VDD_CPU_CV", 19880, 80),
            ("VIN_SYS_5V0", 5024, 624),
        ),
        **ina3221(3, "1-0041", ("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5016, 104), ("NC", 0, 0)),
        **over_current(4, 0, 0, 0),
        **devfreq("17000000.ga10b", [306000000, 612000000, 1300500000], 306000000, load=0),
        **cpu({0: range(4), 4: range(4, 8), 8: range(8, 12)}, (115200, 1190400, 2201600)),
        **processor(12, 30536),
        **power_mode(2, 2, {0: "MAXN", 1: "MODE_15W", 2: "MODE_30W", 3: "MODE_50W"}),
    }


def thor() -> Files:
    """AGX Thor, JetPack 7: the input on a chip of its own, trip points above 105 °C."""
    return {
        **device_tree(
            "NVIDIA Jetson AGX Thor Developer Kit",
            "nvidia,p4071-0000+p3834-0008",
            "nvidia,p3834-0008",
            "nvidia,tegra264",
        ),
        **zones(
            ("cpu-thermal", 52781),
            ("gpu-thermal", 51125),
            ("soc012-thermal", 50500),
            ("soc345-thermal", 50343),
            ("tj-thermal", 52781),
            trips=(("passive", 109000), ("critical", 112500)),
        ),
        **cooling(("cpufreq-cpu0", 0, 20), ("devfreq-gpu-gpc-0", 0, 11), ("pwm-fan", 1, 4)),
        **hwmon(
            3,
            {
                "name": "ina238",
                "in0_input": 2,
                "in1_input": 19975,
                "curr1_input": 2104,
                "power1_input": 42027400,
                "temp1_input": 38000,
            },
            "ina238/2-0044",
        ),
        **ina3221(
            4,
            "2-0040",
            ("VDD_GPU", 19960, 216),
            ("VDD_CPU_SOC_MSS", 19960, 536),
            ("VIN_SYS_5V0", 4992, 1592),
        ),
        **devfreq("gpu-gpc-0", [315000000, 945000000, 1575000000], 945000000, load=330),
        **devfreq("gpu-nvd-0", [315000000, 945000000, 1692000000], 315000000),
        **cpu({0: range(7), 7: range(7, 14)}, (972000, 1998000, 2601000)),
        **processor(14, 125772),
        **power_mode(1, 1, {0: "MAXN", 1: "120W", 2: "90W"}),
    }

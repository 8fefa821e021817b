"""The batteries of a machine, each in messages of its own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from sensor_msgs.msg import BatteryState

from manager_rig import RECORDINGS, manager
from rig import Collected, Outside, Rig, wait_for

DISCHARGING = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
CHARGING = BatteryState.POWER_SUPPLY_STATUS_CHARGING
NOT_CHARGING = BatteryState.POWER_SUPPLY_STATUS_NOT_CHARGING


def test_a_battery_is_published(rig: Rig, outside: Outside) -> None:
    batteries = outside.listen("/ai/battery_state", "sensor_msgs/BatteryState")
    manager(rig, "laptop")
    battery = batteries.wait(1)[0]
    assert battery["present"]
    assert 0 < battery["percentage"] < 1
    assert battery["voltage"] > 3
    assert math.isnan(battery["temperature"])


def last_states(batteries: Collected) -> dict[str, dict]:
    return {each["location"]: each for each in list(batteries)}


def test_each_battery_has_messages_of_its_own(rig: Rig, outside: Outside, tmp_path: Path) -> None:
    header, first, *_ = (RECORDINGS / "two_batteries.jsonl").read_text().splitlines()
    on_batteries = tmp_path / "on_batteries.jsonl"
    on_batteries.write_text(f"{header}\n{first}\n")
    batteries = outside.listen("/ai/battery_state", "sensor_msgs/BatteryState")
    states = outside.listen("/ai/platform_state", "edge_inference/PlatformState")
    manager(rig, recording=str(on_batteries))
    both = wait_for(lambda: len(found := last_states(batteries)) == 2 and found)
    idle, used = both["battery/BAT0"], both["battery/BAT1"]
    assert idle["header"]["frame_id"] == "battery/BAT0"
    assert idle["power_supply_status"] == NOT_CHARGING
    assert idle["percentage"] == pytest.approx(0.1)
    assert str(idle["current"]) == "0.0"  # of 0 W, and not -0.0
    assert used["power_supply_status"] == DISCHARGING
    assert (used["percentage"], used["current"]) == (pytest.approx(0.9), -1.0)
    assert (used["charge"], used["capacity"]) == (pytest.approx(5.8), pytest.approx(6.4))
    devices = {each["name"]: each["device"] for each in states.wait(1)[0]["readings"]}
    assert devices["battery/BAT1/voltage"] == "battery/BAT1"
    assert devices["zone/x86_pkg_temp"] == "zone/x86_pkg_temp"


def test_a_battery_that_is_taken_out_is_not_present(rig: Rig, outside: Outside) -> None:
    batteries = outside.listen("/ai/battery_state", "sensor_msgs/BatteryState")
    manager(rig, "two_batteries")
    found = wait_for(
        lambda: (
            len(found := last_states(batteries)) == 2
            and not found["battery/BAT1"]["present"]
            and found
        )
    )
    assert math.isnan(found["battery/BAT1"]["percentage"])
    assert found["battery/BAT0"]["power_supply_status"] == CHARGING

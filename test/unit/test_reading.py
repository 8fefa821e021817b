"""Quantities and roles: each has a row, and the message and its text name them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.reading import Quantity, Role

MESSAGE = Path(__file__).parents[2] / "msg" / "PlatformReading.msg"


def comment(field: str) -> str:
    line = next(each for each in MESSAGE.read_text().splitlines() if f" {field} " in each)
    return line.partition("#")[2]


@pytest.mark.parametrize("quantity", Quantity)
def test_every_quantity_has_a_row_and_is_in_the_message(quantity: Quantity) -> None:
    low, high = quantity.valid
    assert low <= 0.0 < high
    assert any(character.isdigit() for character in quantity.describe(1.0))
    assert quantity.value in comment("quantity").replace(",", " ").split()
    units = comment("unit").partition(";")[0].split(",")
    assert quantity.unit == "" or quantity.unit in [each.strip() for each in units]


@pytest.mark.parametrize("role", Role)
def test_every_role_has_a_row_and_is_in_the_message(role: Role) -> None:
    suitable = [quantity for quantity in Quantity if role.objection(quantity) is None]
    assert suitable
    assert ("battery_…" if role.is_of_battery else role.value) in comment("role")


def test_a_role_refuses_another_quantity() -> None:
    assert Role.THROTTLE.objection(Quantity.POWER) == (
        "expected quantity state or count for role throttle, got power"
    )

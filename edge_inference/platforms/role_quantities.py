"""Which quantities a role suits."""

from __future__ import annotations

from edge_inference.core.reading import Quantity, Role

_QUANTITIES = {
    Role.CONTROL: (Quantity.TEMPERATURE,),
    Role.TOTAL_POWER: (Quantity.POWER,),
    Role.RAILS_SUM: (Quantity.POWER,),
    Role.THROTTLE: (Quantity.STATE, Quantity.COUNT),
    Role.BATTERY_POWER: (Quantity.POWER,),
    Role.BATTERY_CURRENT: (Quantity.CURRENT,),
    Role.BATTERY_VOLTAGE: (Quantity.VOLTAGE,),
    Role.BATTERY_DESIGN_VOLTAGE: (Quantity.VOLTAGE,),
    Role.BATTERY_CHARGE: (Quantity.SHARE,),
    Role.BATTERY_ENERGY: (Quantity.ENERGY,),
    Role.BATTERY_FULL_ENERGY: (Quantity.ENERGY,),
    Role.BATTERY_REMAINING_CHARGE: (Quantity.ELECTRIC_CHARGE,),
    Role.BATTERY_FULL_CHARGE: (Quantity.ELECTRIC_CHARGE,),
    Role.BATTERY_TEMPERATURE: (Quantity.TEMPERATURE,),
    Role.BATTERY_STATUS: (Quantity.STATE,),
}


def describe_role_error(role: Role, quantity: Quantity) -> str | None:
    """Return why readings of a quantity cannot have a role, None if they can."""
    suitable = _QUANTITIES.get(role, tuple(Quantity))
    if quantity in suitable:
        return None
    names = " or ".join(each.value for each in suitable)
    return f"expected quantity {names} for role {role.value}, got {quantity.value}"

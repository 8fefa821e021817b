"""Reads the limits of spoken commands from their YAML file; errors name file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_inference.core.yaml_file import Section, load_yaml
from edge_inference.errors import PluginError
from edge_inference.speech.actions.limits import (
    MotionLimits,
    NamedPlace,
    PlanLimits,
    VoiceLimits,
)
from edge_inference.speech.actions.table import ACTIONS


def read_limits(file: Path) -> VoiceLimits:
    """Read a limits file: the optional sections motion, plan, places and action_limits.

    Raises ConfigError with file, line and key.
    """
    top = load_yaml(file)
    top.require_known("motion", "plan", "places", "action_limits")
    places = top.sections("places") if "places" in top else {}
    if "" in places:
        raise top.section("places").error("", "expected a name for the place, got none")
    return VoiceLimits(
        motion=top.section("motion").read(MotionLimits) if "motion" in top else MotionLimits(),
        plan=_read_plan(top.section("plan")) if "plan" in top else PlanLimits(),
        places={name: place.read(NamedPlace) for name, place in places.items()},
        action_limits=_read_action_limits(top),
    )


def _read_plan(section: Section) -> PlanLimits:
    plan = section.read(PlanLimits)
    if "actions" in section and not plan.actions:
        raise section.error("actions", "expected at least stop, got none")
    for name in plan.actions:
        try:
            ACTIONS.get(name)
        except PluginError as error:
            raise section.error("actions", str(error)) from error
    return plan


def _read_action_limits(top: Section) -> dict[type[Any], Any]:
    if "action_limits" not in top:
        return {}
    section = top.section("action_limits")
    classes = {name: a.limits_class for name, a in ACTIONS.rows().items() if a.limits_class}
    section.require_known(*classes)
    return {classes[name]: section.section(name).read(classes[name]) for name in section}

"""A package with one action, whose code the test writes, and what is said to it."""

from __future__ import annotations

from pathlib import Path

from edge_inference.core.voice import Intent, IntentArray, IntentSlot
from edge_inference.speech.actions.limits import PlanLimits, VoiceLimits
from installed_extension import write_metadata


def install_action(folder: Path, name: str, row: str, others: str = "") -> None:
    code = f"""
from dataclasses import replace
from edge_inference.core.voice import ActionStep, IntentSlot
from edge_inference.speech.actions.driving import MOVE, TURN
{others}
ROW = {row}
"""
    (folder / "their_actions.py").write_text(code)
    entries = f"[edge_inference.actions]\n{name} = their_actions:ROW\n"
    write_metadata(folder, "their_actions", entries)


def said(name: str, *slots: IntentSlot) -> IntentArray:
    intent = Intent(name, {slot.name: slot for slot in slots})
    return IntentArray((intent,), 1.0, name, "grammar", 5)


def limits_of(*actions: str) -> VoiceLimits:
    return VoiceLimits(plan=PlanLimits(actions=(*actions, "stop")))

"""A command node with the action wave, and a package whose code for it the test writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from command_rig import FAR, STILL, Speaker
from edge_inference.core.runtime.health import HealthLevel
from edge_inference.core.voice import ActionStep, IntentSlot
from edge_inference.speech.planning.motion import MotionState
from installed_extension import write_metadata
from rig import Rig, wait_for


def wave(times: float) -> ActionStep:
    return ActionStep("wave", values=(IntentSlot("times", times),))


def write_limits(folder: Path, more: str = "") -> str:
    file = folder / "limits.yaml"
    file.write_text(
        f"plan: {{actions: [wave, move, look, stop], dead_man_s: 2.0, max_age_s: 60.0{more}}}\n"
    )
    return str(file)


class Robot:
    """A command node with the action wave."""

    def __init__(self, rig: Rig, limits: str, **parameters: Any) -> None:
        self.rig, self.speaker = rig, Speaker(rig)
        self.velocities, self.said = rig.tap("/cmd_vel"), rig.tap("/ai/say")
        self.feedback = rig.tap("/ai/command_feedback")
        self.node = rig.load("Command", limits=limits, zero_velocity_s=0.1, **parameters)

    @property
    def state(self) -> MotionState:
        return self.feedback[-1].state

    def wait_for_state(self, state: MotionState) -> None:
        wait_for(lambda: self.feedback and self.state is state, f"the state {state.value}")

    def assert_drives(self) -> None:
        self.speaker.plan(*FAR)
        wait_for(lambda: self.velocities[-1] != STILL, "driving")
        self.speaker.say("stop")
        assert self.velocities[-1] == STILL

    def has_error(self, text: str) -> bool:
        status = self.node.health.status(0)
        return status.level is HealthLevel.ERROR and text in status.message


CODE = """
import threading
from edge_inference.speech.actions.action import Action, StandardIntent
from edge_inference.speech.actions.executor import ActionExecutor, ExecutorRow

calls, is_released = [], threading.Event()


def wait():
    is_released.wait()


class Executor(ActionExecutor):
    {body}

    def __init__(self, node, limits):
        self.node = node
        {make}

    def start(self, step):
        calls.append("start")
        {start}
        calls.append("started")

    def outcome(self):
        {outcome}

    def cancel(self):
        calls.append("cancel")
        {cancel}


def plan(values, limits):
    calls.append("plan")
    {plan}


def objection(step, limits):
    calls.append("objection")
    {objection}
    return ""


WAVE = Action("wave", "I cannot wave", plan, (), {name!r}, ("times",), objection{row})
EXECUTOR = ExecutorRow({name!r}, Executor)
ARM = ExecutorRow("arm", Executor)
"""
ACTION_ENTRY = "[edge_inference.actions]\nwave = their_wave:WAVE\n"
EXECUTOR_ENTRY = "[edge_inference.action_executors]\nwave = their_wave:EXECUTOR\n"


def write_package(folder: Path, entries: str = ACTION_ENTRY + EXECUTOR_ENTRY, **lines: str) -> None:
    """Write the package ``their_wave`` with some lines of code."""
    code = {"make": "pass", "start": "pass", "outcome": "return None", "cancel": "pass"}
    code |= {"plan": "raise ZeroDivisionError('a bug')", "objection": "pass"}
    code |= {"body": "", "row": "", "name": "wave"}
    (folder / "their_wave.py").write_text(CODE.format(**(code | lines)))
    write_metadata(folder, "their_wave", entries)

"""The shipped policy allows what the robot's pipeline needs, and nothing else."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "config" / "security" / "robot.policy.xml"
#: Packages with which nodes have more on the graph.
OPTIONAL = ("vision_msgs", "nav2_msgs", "composition_interfaces")


def allowed(node: str, kind: str, verb: str) -> set[str | None]:
    root = ElementTree.parse(POLICY).getroot()
    return {
        each.text
        for profile in root.iter("profile")
        if profile.get("node") == node
        for rules in profile.findall(kind)
        if rules.get(verb) == "ALLOW"
        for each in rules
    }


@pytest.mark.usefixtures("alone")
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) for name in OPTIONAL),
    reason=f"one of {', '.join(OPTIONAL)} is installed: nodes have more on the graph",
)
@pytest.mark.usefixtures("alone")
def test_it_is_what_the_pipeline_has_on_the_graph() -> None:
    """In a process and a domain of its own: what others have on the graph is no part of it."""
    script = ROOT / "scripts" / "security_policy.py"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run scripts/security_policy.py anew\n{done.stdout}"


def test_the_robot_alone_may_drive() -> None:
    drivers = {
        profile.get("node")
        for profile in ElementTree.parse(POLICY).getroot().iter("profile")
        if "/cmd_vel" in allowed(str(profile.get("node")), "topics", "publish")
    }
    assert drivers == {"command"}


def test_the_process_that_takes_images_neither_drives_nor_speaks_for_a_person() -> None:
    root = ElementTree.parse(POLICY).getroot()

    def topics(enclave: str, verb: str) -> set[str | None]:
        (found,) = [each for each in root.iter("enclave") if each.get("path") == enclave]
        rules = [each for each in found.iter("topics") if each.get(verb) == "ALLOW"]
        return {topic.text for each in rules for topic in each}

    perception, voice = "/robot/perception_container", "/robot/voice_container"
    assert "/camera/image_raw" in topics(perception, "subscribe")
    assert "/cmd_vel" in topics(voice, "publish")
    moves = {"/cmd_vel", "/ai/action_plan", "/ai/intent", "/ai/transcript", "/ai/speech"}
    assert not topics(perception, "publish") & {*moves, "/ai/performance_directive"}
    large = {"/camera/image_raw", "/ai/tensor", "/ai/raw_output", "/ai/overlay"}
    assert not topics(voice, "subscribe") & large


@pytest.mark.parametrize("topic", ["/ai/action_plan", "/ai/transcript", "/ai/inference_state"])
def test_an_operator_sees_and_does_not_command(topic: str) -> None:
    assert topic in allowed("operator", "topics", "subscribe")
    assert topic not in allowed("operator", "topics", "publish")


def test_nobody_may_load_a_component() -> None:
    requested = allowed("operator", "services", "request")
    assert "/ai/inference/set_parameters" in requested
    assert not any("load_node" in str(name) for name in requested)

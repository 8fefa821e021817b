"""The shipped security policy allows what the robot's pipeline needs, and nothing else."""

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
#: Packages with which nodes have more topics, services or actions.
OPTIONAL = ("vision_msgs", "nav2_msgs", "composition_interfaces")


def allowed(node: str, kind: str, access: str) -> set[str | None]:
    """Return the names that a node may access."""
    root = ElementTree.parse(POLICY).getroot()
    return {
        each.text
        for profile in root.iter("profile")
        if profile.get("node") == node
        for rules in profile.findall(kind)
        if rules.get(access) == "ALLOW"
        for each in rules
    }


@pytest.mark.usefixtures("alone")
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) for name in OPTIONAL),
    reason=f"one of {', '.join(OPTIONAL)} is installed: the graph of the nodes is larger",
)
def test_the_policy_is_the_graph_of_the_pipeline() -> None:
    """In its own process and ROS domain, so that the graph has no other nodes."""
    script = ROOT / "scripts" / "security_policy.py"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run: python scripts/security_policy.py\n{done.stdout}"


@pytest.mark.usefixtures("alone")
def test_a_component_that_does_not_configure_is_an_error() -> None:
    code = (
        "import security_policy as policy; policy.ARGUMENTS['model'] = 'no_such_model'; "
        "policy.render_policy()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("RuntimeError: "), done.stderr
    assert "/ai/inference did not configure" in error


def test_only_the_command_node_may_drive() -> None:
    drivers = {
        profile.get("node")
        for profile in ElementTree.parse(POLICY).getroot().iter("profile")
        if "/cmd_vel" in allowed(str(profile.get("node")), "topics", "publish")
    }
    assert drivers == {"command"}


def test_the_perception_process_publishes_neither_velocities_nor_commands() -> None:
    root = ElementTree.parse(POLICY).getroot()

    def topics(path: str, access: str) -> set[str | None]:
        (enclave,) = [each for each in root.iter("enclave") if each.get("path") == path]
        rules = [each for each in enclave.iter("topics") if each.get(access) == "ALLOW"]
        return {topic.text for each in rules for topic in each}

    perception, voice = "/robot/perception_container", "/robot/voice_container"
    assert "/camera/image_raw" in topics(perception, "subscribe")
    assert "/cmd_vel" in topics(voice, "publish")
    commands = {"/cmd_vel", "/ai/action_plan", "/ai/intent", "/ai/transcript", "/ai/speech"}
    assert not topics(perception, "publish") & {*commands, "/ai/performance_directive"}
    large = {"/camera/image_raw", "/ai/tensor", "/ai/raw_output", "/ai/overlay"}
    assert not topics(voice, "subscribe") & large


@pytest.mark.parametrize("topic", ["/ai/action_plan", "/ai/transcript", "/ai/inference_state"])
def test_an_operator_reads_a_topic_and_does_not_publish_it(topic: str) -> None:
    assert topic in allowed("operator", "topics", "subscribe")
    assert topic not in allowed("operator", "topics", "publish")


def test_no_node_may_request_to_load_a_component() -> None:
    nodes = {str(each.get("node")) for each in ElementTree.parse(POLICY).getroot().iter("profile")}
    requested = {node: allowed(node, "services", "request") for node in nodes}
    assert "/ai/inference/set_parameters" in requested["operator"]
    assert {node for node in nodes if any("load_node" in str(s) for s in requested[node])} == set()

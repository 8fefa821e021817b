"""Write config/security/robot.policy.xml from the ROS graph of the robot's pipeline.

``python scripts/security_policy.py`` writes the file. With ``--check`` it only shows the
differences between the file and the graph (exit status 1 if there are any). It needs ROS 2, and a
ROS domain without other nodes.
"""

from __future__ import annotations

import difflib
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_inference.composition.load_services import add_load_services
from edge_inference.composition.pipeline import Pipeline, load_pipeline
from edge_inference.composition.process import load_components, open_container

FILE = Path(__file__).parents[1] / "config" / "security" / "robot.policy.xml"

#: Names by kind (topics, services, actions) and access (publish, subscribe, request …).
Rules = dict[tuple[str, str], set[str]]

#: All nodes of the pipeline, without devices, which do not change the graph.
ARGUMENTS = {"audio_source": "", "listening": "on_demand", "targets": "specification"}
# On the graph only if other packages are installed (nav2_msgs, vision_msgs,
# composition_interfaces). No node may request that a component is loaded: that runs the module
# that the request names.
_LOAD_SERVICES = "/_container/"
_LOAD_SERVICE_NAMES = ("load_node", "unload_node", "list_nodes")
_NAVIGATION_RULES: Rules = {("actions", "call"): {"/navigate_to_pose"}}
_LABEL_INFO_TOPIC = "/ai/label_info"
#: Nodes outside of the pipeline, and the topics that they publish or subscribe to.
CAMERA, BASE, OPERATOR = "camera", "base", "operator"
_IMAGE_TOPIC, _VELOCITY_TOPIC = "/camera/image_raw", "/cmd_vel"
_COMMON_TOPICS = ("/rosout", "/parameter_events")
_HEADER = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Access rules of each node, for ros2 security create_enclave and create_permission.
     Written by scripts/security_policy.py from the ROS graph of the pipeline. Copy this file,
     insert the names of your camera, base and operator, and change the topics that you remap. -->
"""


def render_policy() -> str:
    """Return the policy as text."""
    pipeline = load_pipeline("robot")
    containers = {name: _container_rules(pipeline, name) for name in pipeline.containers}
    policy = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(policy, "enclaves")
    for name, nodes in containers.items():
        _add_enclave(enclaves, f"/robot/{name}", nodes)
    robot = [rules for nodes in containers.values() for rules in nodes.values()]
    external_nodes = {
        CAMERA: _external_node_rules("publish", [_IMAGE_TOPIC]),
        BASE: _external_node_rules("subscribe", [_VELOCITY_TOPIC]),
        OPERATOR: _operator_rules(robot),
    }
    for name, rules in external_nodes.items():
        _add_enclave(enclaves, f"/robot/{name}", {("/", name): rules})
    ElementTree.indent(policy)
    return _HEADER + ElementTree.tostring(policy, encoding="unicode") + "\n"


def _container_rules(pipeline: Pipeline, name: str) -> dict[tuple[str, str], Rules]:
    """Return the rules of each node in one of the pipeline's containers and of the container."""
    with open_container(name) as container:
        add_load_services(container)
        failures = load_components(container, pipeline.components(ARGUMENTS, container=name))
        # A component that fails to start stays loaded, without most of its topics.
        failures += [f"{c.full_name} {c.failure}" for c in container.components if c.failure]
        if failures:
            raise RuntimeError("; ".join(failures))
        nodes = [container.node, *(component.node for component in container.components)]
        rules = {(node.get_namespace(), node.get_name()): _node_rules(node) for node in nodes}
    load_services = {f"/{name}{_LOAD_SERVICES}{service}" for service in _LOAD_SERVICE_NAMES}
    rules["/", name].setdefault(("services", "reply"), set()).update(load_services)
    if ("/ai", "command") in rules:
        rules["/ai", "command"].update(_NAVIGATION_RULES)
    if ("/ai", "decode") in rules:
        rules["/ai", "decode"]["topics", "publish"].add(_LABEL_INFO_TOPIC)
    return rules


def _node_rules(node: Any) -> Rules:
    """Return the topics, services and actions of a node, by absolute names."""
    name = (node.get_name(), node.get_namespace())
    rules: Rules = {}
    for kind, access, names in (
        ("topics", "publish", node.get_publisher_names_and_types_by_node(*name)),
        ("topics", "subscribe", node.get_subscriber_names_and_types_by_node(*name)),
        ("services", "reply", node.get_service_names_and_types_by_node(*name)),
        ("services", "request", node.get_client_names_and_types_by_node(*name)),
    ):
        for each, _ in names:
            action = each.partition("/_action/")[0]
            if action == each:
                rules.setdefault((kind, access), set()).add(each)
            elif access == "reply":
                rules.setdefault(("actions", "execute"), set()).add(action)
    return rules


def _external_node_rules(access: str, topics: Iterable[str]) -> Rules:
    """Return the rules of a node that publishes or subscribes to topics, and every node's own."""
    rules: Rules = {
        ("topics", "publish"): set(_COMMON_TOPICS),
        ("topics", "subscribe"): set(_COMMON_TOPICS[1:]),
    }
    rules["topics", access] |= set(topics)
    return rules


def _operator_rules(robot: Iterable[Rules]) -> Rules:
    """Return the rules of the operator's node: it reads every topic and requests every service.

    It publishes neither plans nor velocities, and loads no component.
    """
    rules = _external_node_rules("subscribe", [])
    for each in robot:
        rules["topics", "subscribe"] |= each.get(("topics", "publish"), set())
        services = each.get(("services", "reply"), set())
        requested = {name for name in services if _LOAD_SERVICES not in name}
        rules.setdefault(("services", "request"), set()).update(requested)
        rules.setdefault(("actions", "call"), set()).update(each.get(("actions", "execute"), ()))
    return rules


def _add_enclave(
    enclaves: ElementTree.Element, path: str, nodes: dict[tuple[str, str], Rules]
) -> None:
    enclave = ElementTree.SubElement(enclaves, "enclave", path=path)
    profiles = ElementTree.SubElement(enclave, "profiles")
    for (namespace, name), rules in sorted(nodes.items()):
        profile = ElementTree.SubElement(profiles, "profile", ns=namespace, node=name)
        for (kind, access), names in sorted(rules.items()):
            if names:
                rule = ElementTree.SubElement(profile, kind, {access: "ALLOW"})
                for each in sorted(names):
                    ElementTree.SubElement(rule, kind.removesuffix("s")).text = each


def main() -> int:
    """Write or check the file."""
    text = render_policy()
    if "--check" in sys.argv[1:]:
        current = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
        differences = difflib.unified_diff(current.splitlines(), text.splitlines(), lineterm="")
        print(*differences, sep="\n")
        return int(current != text)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

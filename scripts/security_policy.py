"""Write config/security/robot.policy.xml from what the robot's pipeline has on the graph.

``python scripts/security_policy.py`` writes the file; with ``--check`` it only shows in what the
file is not up to date (exit status 1 where it is not). Needs ROS 2, and nobody else in its domain.
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

#: Names by kind (topics, services, actions) and by what is done with them.
Rules = dict[tuple[str, str], set[str]]

#: Everything that the pipeline can have: without devices, which say nothing on the graph.
ARGUMENTS = {"audio_source": "", "listening": "on_demand"}
# What is there only where other packages are installed (nav2_msgs, composition_interfaces). Nobody
# is allowed to ask for a component to be loaded: that runs whatever module is named.
_LOADING = "/_container/"
_LOADERS = ("load_node", "unload_node", "list_nodes")
_NAVIGATION: Rules = {("actions", "call"): {"/navigate_to_pose"}}
#: Who else has a part in it: names of nodes, and the topics that each gives or takes.
CAMERA, BASE, OPERATOR = "camera", "base", "operator"
_IMAGES, _VELOCITY = "/camera/image_raw", "/cmd_vel"
_SHARED = ("/rosout", "/parameter_events")
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Who may say what to whom: for ros2 security create_enclave and create_permission.
     Written by scripts/security_policy.py from what the pipeline has on the graph. Copy it, and
     put in the names of your camera, base and operator, and topics where ours are remapped. -->
"""


def render() -> str:
    """Return the policy as text."""
    pipeline = load_pipeline("robot")
    parts = {name: _part(pipeline, name) for name in pipeline.containers}
    policy = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(policy, "enclaves")
    for name, rules in parts.items():
        _enclave(enclaves, f"/robot/{name}", rules)
    _enclave(enclaves, f"/robot/{CAMERA}", {("/", CAMERA): _alone("publish", [_IMAGES])})
    _enclave(enclaves, f"/robot/{BASE}", {("/", BASE): _alone("subscribe", [_VELOCITY])})
    _enclave(
        enclaves,
        f"/robot/{OPERATOR}",
        {("/", OPERATOR): _watches(each for part in parts.values() for each in part.values())},
    )
    ElementTree.indent(policy)
    return _HEAD + ElementTree.tostring(policy, encoding="unicode") + "\n"


def _part(pipeline: Pipeline, name: str) -> dict[tuple[str, str], Rules]:
    """Return the rules of each node in one of the pipeline's containers, itself among them."""
    with open_container(name) as container:
        add_load_services(container)
        failures = load_components(container, pipeline.components(ARGUMENTS, container=name))
        if failures:
            raise RuntimeError("; ".join(failures))
        nodes = [container.node, *(component.node for component in container.components)]
        rules = {(node.get_namespace(), node.get_name()): _rules(node) for node in nodes}
    loaders = {f"/{name}{_LOADING}{verb}" for verb in _LOADERS}
    rules["/", name].setdefault(("services", "reply"), set()).update(loaders)
    if ("/ai", "command") in rules:
        rules["/ai", "command"].update(_NAVIGATION)
    return rules


def _rules(node: Any) -> Rules:
    """Return what a node gives, takes, answers and asks, by absolute names."""
    name = (node.get_name(), node.get_namespace())
    found: Rules = {}
    for kind, verb, names in (
        ("topics", "publish", node.get_publisher_names_and_types_by_node(*name)),
        ("topics", "subscribe", node.get_subscriber_names_and_types_by_node(*name)),
        ("services", "reply", node.get_service_names_and_types_by_node(*name)),
        ("services", "request", node.get_client_names_and_types_by_node(*name)),
    ):
        for each, _ in names:
            action = each.partition("/_action/")[0]
            if action == each:
                found.setdefault((kind, verb), set()).add(each)
            elif verb == "reply":
                found.setdefault(("actions", "execute"), set()).add(action)
    return found


def _alone(verb: str, topics: Iterable[str]) -> Rules:
    """Return the rules of a node that has one part in it, and a node's usual services."""
    rules: Rules = {("topics", "publish"): set(_SHARED), ("topics", "subscribe"): set(_SHARED[1:])}
    rules["topics", verb] |= set(topics)
    return rules


def _watches(robot: Iterable[Rules]) -> Rules:
    """Return the rules of who sees all that the robot says, and sets it; no plan, no velocity."""
    rules = _alone("subscribe", [])
    for each in robot:
        rules["topics", "subscribe"] |= each.get(("topics", "publish"), set())
        services = each.get(("services", "reply"), set())
        asked = {name for name in services if _LOADING not in name}
        rules.setdefault(("services", "request"), set()).update(asked)
        rules.setdefault(("actions", "call"), set()).update(each.get(("actions", "execute"), ()))
    return rules


def _enclave(enclaves: ElementTree.Element, path: str, nodes: dict[tuple[str, str], Rules]) -> None:
    enclave = ElementTree.SubElement(enclaves, "enclave", path=path)
    profiles = ElementTree.SubElement(enclave, "profiles")
    for (namespace, name), rules in sorted(nodes.items()):
        profile = ElementTree.SubElement(profiles, "profile", ns=namespace, node=name)
        for (kind, verb), names in sorted(rules.items()):
            if names:
                rule = ElementTree.SubElement(profile, kind, {verb: "ALLOW"})
                for each in sorted(names):
                    ElementTree.SubElement(rule, kind.removesuffix("s")).text = each


def main() -> int:
    """Write the file, or check it."""
    text = render()
    if "--check" in sys.argv[1:]:
        kept = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
        differences = difflib.unified_diff(kept.splitlines(), text.splitlines(), lineterm="")
        print(*differences, sep="\n")
        return int(kept != text)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

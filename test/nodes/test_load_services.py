"""The services of composition_interfaces, if it is installed."""

from __future__ import annotations

import threading

import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue

from edge_inference.composition.load_services import add_load_services
from rig import DEADLINE_S, Rig

srv = pytest.importorskip(
    "composition_interfaces.srv", reason="composition_interfaces is not installed here"
)


@pytest.fixture
def ask(rig: Rig):
    """Call a service of the container through the graph."""
    assert rig.call(lambda: add_load_services(rig.container))
    node = rig.container.node

    def call(kind, name: str, **fields):
        client = rig.call(lambda: node.create_client(kind, f"{node.get_name()}/_container/{name}"))
        done = threading.Event()
        future = client.call_async(kind.Request(**fields))
        future.add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S)
        return future.result()

    return call


def text(name: str, value: str) -> Parameter:
    kind = ParameterType.PARAMETER_STRING
    return Parameter(name=name, value=ParameterValue(type=kind, string_value=value))


def test_load_list_unload(rig: Rig, ask) -> None:
    loaded = ask(
        srv.LoadNode,
        "load_node",
        package_name="plugins",
        plugin_name="plugins::Gate",
        node_name="mine",
        node_namespace="/space",
        remap_rules=["passed:=out"],
        parameters=[text("when_full", "wait")],
    )
    assert (loaded.success, loaded.full_node_name) == (True, "/space/mine"), loaded.error_message
    node = rig.container.components[0].node
    assert node.output.topic == "/space/out"
    assert node.parameters.current.when_full == "wait"
    listed = ask(srv.ListNodes, "list_nodes")
    assert list(listed.full_node_names) == ["/space/mine"]
    assert list(listed.unique_ids) == [loaded.unique_id]
    del node
    assert ask(srv.UnloadNode, "unload_node", unique_id=loaded.unique_id).success
    assert not ask(srv.ListNodes, "list_nodes").unique_ids


def test_failures_are_returned_as_sentences(rig: Rig, ask) -> None:
    unknown = ask(srv.LoadNode, "load_node", package_name="plugins", plugin_name="plugins::Nope")
    assert not unknown.success
    assert "has no class Nope" in unknown.error_message
    refused = ask(
        srv.LoadNode,
        "load_node",
        package_name="plugins",
        plugin_name="plugins::Gate",
        parameters=[text("queue_depth", "many")],
    )
    assert not refused.success
    assert "queue_depth: expected an integer" in refused.error_message
    missing = ask(srv.UnloadNode, "unload_node", unique_id=77)
    assert not missing.success
    assert "no component has the id 77" in missing.error_message
    assert not rig.container.components

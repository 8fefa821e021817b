"""Components load, fail and unload without effect on the others."""

from __future__ import annotations

import sys
import threading
import weakref
from pathlib import Path

import pytest
from std_msgs.msg import Float32

from edge_inference.composition.container import find_plugin
from edge_inference.errors import ConfigError, PluginError
from rig import Collected, Outside, Rig, wait_for

NAMELESS = ["", "plugins", "::", "plugins::", "::Plain"]


def number_of(rig: Rig, name: str) -> int:
    return sum(other.full_name == name for other in rig.container.components)


def log_of(capfd: pytest.CaptureFixture[str]) -> str:
    return capfd.readouterr().err


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", NAMELESS)
def test_invalid_plugin_name(plugin: str) -> None:
    with pytest.raises(PluginError, match=r"expected package::Class or package\.module::Class"):
        find_plugin(plugin)


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ("no_such_package::Thing", "no module no_such_package.nodes; no module no_such_package"),
        ("edge_inference::Decoder", r"has no class Decoder; did you mean 'Decode'\?"),
        ("edge_inference.nodes.perception.decode::Nothing", "has no class Nothing"),
        ("plugins::Missing", "plugins has no class Missing"),
        ("plugins::NotANode", "expected plugins.NotANode to be a node class"),
        ("plugins::NOT_A_NODE", "to be a node class .*, got 7"),
        ("json::JSONDecoder", "to be a node class"),
        ("..relative::Thing", "component '..relative::Thing'"),
    ],
)
def test_unknown_plugin(plugin: str, expected: str) -> None:
    with pytest.raises(PluginError, match=expected):
        find_plugin(plugin)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("import a_driver_that_is_missing", "needs a_driver_that_is_missing"),
        ("import odd", "needs odd"),  # a name with the module's name as its prefix
        ("raise OSError('no licence')", "OSError: no licence"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("def __getattr__(name): raise SystemExit('late')", "SystemExit: late"),
        (
            "def __getattr__(name): import a_driver_that_is_missing",
            "needs a_driver_that_is_missing",
        ),
    ],
)
def test_a_plugin_whose_module_cannot_be_imported(
    body: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "oddities.py").write_text(body + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(PluginError, match=expected):
            find_plugin("oddities::Thing")
    finally:
        sys.modules.pop("oddities", None)


def test_every_node_of_the_package_is_found() -> None:
    from edge_inference import nodes

    for name in nodes.__all__:
        assert find_plugin(f"edge_inference::{name}").__name__ == name


# Failing ----------------------------------------------------------------------------------------


def test_failing_constructor_leaves_nothing_behind(rig: Rig, outside: Outside) -> None:
    survivor = rig.load("plugins::Plain")
    with pytest.raises(PluginError, match=r"FailsToConstruct cannot be created: .*no such sensor"):
        rig.load("plugins::FailsToConstruct")
    wait_for(lambda: "/plain" in outside.nodes(), "/plain on the graph")
    wait_for(lambda: "/half_made" not in outside.nodes(), "/half_made leaving the graph")
    assert "/half_made_topic" not in outside.topics()
    assert [component.node for component in rig.container.components] == [survivor]


def test_system_exit_in_a_component_does_not_stop_the_others(rig: Rig) -> None:
    survivor = rig.load("plugins::Plain")
    with pytest.raises(PluginError, match="ExitsInConstructor cannot be created: SystemExit: 4"):
        rig.load("plugins::ExitsInConstructor")
    with pytest.raises(PluginError, match="SystemExit"):
        rig.load("unittest.__main__::TestProgram")
    assert [component.node for component in rig.container.components] == [survivor]
    assert rig.call(lambda: "spins") == "spins"


def test_refused_parameters_leave_nothing_behind(rig: Rig, outside: Outside) -> None:
    with pytest.raises(ConfigError, match=r"parameter queue_depth: expected an integer .*'many'"):
        rig.load("plugins::Gate", queue_depth="many")
    rig.load("plugins::Plain")
    wait_for(lambda: "/plain" in outside.nodes(), "/plain on the graph")
    wait_for(lambda: "/gate" not in outside.nodes(), "/gate leaving the graph")


@pytest.mark.parametrize(
    ("plugin", "step", "reason"),
    [
        ("FailsToConfigure", "configure", "the lens cap is on; expected it off"),
        ("RaisesInConfigure", "configure", "RuntimeError: a bug"),
        ("StrangerRaises", "configure", "the reason is in the log above"),
        ("FailsToActivate", "activate", "no power; expected 5 V"),
    ],
)
def test_component_that_does_not_start_stays_loaded(
    rig: Rig, capfd: pytest.CaptureFixture[str], plugin: str, step: str, reason: str
) -> None:
    component = rig.load_component(f"plugins::{plugin}")
    assert component.failure == f"did not {step}"
    log = log_of(capfd)
    assert reason in log
    assert f"did not {step}" in log
    rig.load("plugins::Plain")
    assert len(rig.container.components) == 2
    rig.call(lambda: rig.container.unload(component.id))


def test_configure_failure_stays_in_diagnostics(rig: Rig, outside: Outside) -> None:
    node = rig.load("plugins::FailsToConfigure")
    assert "half_open" not in outside.topics()
    for _ in range(2):
        status = node.health.status(now_ns=2**62)
        assert (int(status.level), status.message) == (2, "the lens cap is on; expected it off")
    node.open = lambda: None
    rig.call(node.trigger_configure)
    assert int(node.health.status(now_ns=2**62).level) == 0


def test_duplicate_node_name(rig: Rig) -> None:
    first = rig.load_component("plugins::Plain")
    with pytest.raises(ConfigError, match=rf"/plain is already loaded \(id {first.id}\)"):
        rig.load("plugins::Plain")
    assert number_of(rig, "/plain") == 1
    rig.load("plugins::Plain", "-r", "__ns:=/other")
    rig.call(lambda: rig.container.unload(first.id))
    rig.load("plugins::Plain")


def test_unloading_an_unknown_id(rig: Rig) -> None:
    component = rig.load_component("plugins::Plain")
    with pytest.raises(ConfigError, match=rf"id 99; loaded: {component.id} /plain"):
        rig.container.unload(99)


def test_failing_callback_does_not_stop_the_others(
    rig: Rig,
    outside: Outside,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_inference.composition.container.monotonic_ns", lambda: 0)
    plain = rig.load("plugins::Plain")
    other = rig.load("plugins::Plain", "-r", "__node:=other")
    answers = outside.listen("/out", "std_msgs/Float32")
    send = outside.speak("/in", "std_msgs/Float32", listeners=2)
    rig.wait_for_subscribers(plain, "/out")
    rig.wait_for_subscribers(other, "/out")
    for _ in range(5):
        send(data=-1.0)
    send(data=3.0)
    answers.wait(2)
    assert [message["data"] for message in answers] == [6.0, 6.0]
    assert log_of(capfd).count("RuntimeError: a negative number") == 1


def test_repeated_failure_is_logged_periodically(
    rig: Rig, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0]
    monkeypatch.setattr("edge_inference.composition.container.monotonic_ns", lambda: clock[0])

    def fail(text: str) -> None:
        try:
            raise ValueError(text)
        except ValueError:
            rig.container._log_failure()

    def fail_at_another_line() -> None:
        try:
            float("no number")
        except ValueError:
            rig.container._log_failure()

    for now_ns, logged in ((0, 2), (4_999_999_999, 0), (5_000_000_000, 2), (9_000_000_000, 0)):
        clock[0] = now_ns
        for number in range(100):
            fail(f"time {-number}")
            fail_at_another_line()
        log = log_of(capfd)
        assert log.count("a callback failed") == logged
        assert log.count("ValueError: time 0") == log.count("'no number'") == logged // 2


@pytest.mark.parametrize("rig", ["best", "single"], indirect=True)
def test_own_executor_is_not_delayed_by_others(
    rig: Rig, outside: Outside, capfd: pytest.CaptureFixture[str]
) -> None:
    component = rig.load_component("plugins::Undisturbed")
    answers = outside.listen("/out", "std_msgs/Float32")
    send = outside.speak("/in", "std_msgs/Float32")
    rig.wait_for_subscribers(component.node, "/out")
    release = threading.Event()
    rig.container.executor.create_task(release.wait)

    def is_answered() -> bool:
        for number in (-2.0, -1.0, 3.0):
            send(data=number)
        return bool(answers)

    try:
        # Repeated, because a message to a subscription that is not matched yet is lost.
        wait_for(is_answered, "an answer")
        assert answers[0]["data"] == 6.0
    finally:
        release.set()
    assert log_of(capfd).count("RuntimeError: a negative number") == 1
    name = f"{component.full_name} executor"
    assert name in {thread.name for thread in threading.enumerate()}
    rig.call(lambda: rig.container.unload(component.id))
    assert name not in {thread.name for thread in threading.enumerate()}
    wait_for(lambda: not outside.knows(name="plain"), "the node to leave the graph")


# Isolation --------------------------------------------------------------------------------------


def test_parameters_remaps_and_namespaces_per_component(rig: Rig) -> None:
    received = Collected()
    subscribe = rig.container.node.create_subscription
    rig.call(lambda: subscribe(Float32, "/left/renamed", received.take, 10))
    left = rig.load("plugins::Plain", "-r", "__ns:=/left", "-r", "out:=renamed", factor=3.0)
    right = rig.load("plugins::Plain", "-r", "__ns:=/right")
    assert left.get_parameter("factor").value == 3.0
    assert right.get_parameter("factor").value == 2.0
    assert (left.output.topic_name, right.output.topic_name) == ("/left/renamed", "/right/out")
    rig.call(lambda: left.on_number(Float32(data=1.5)))
    received.wait()
    assert received[0].data == 4.5


# Freeing ----------------------------------------------------------------------------------------


def test_unloading_frees_everything(rig: Rig, outside: Outside) -> None:
    component = rig.load_component("plugins::Gate")
    wait_for(lambda: "/passed" in outside.topics(), "/passed on the graph")
    assert any(thread.name == "gate" for thread in threading.enumerate())
    gone = weakref.ref(component.node)
    unload = component.id
    del component
    rig.call(lambda: rig.container.unload(unload))
    wait_for(lambda: gone() is None, "the component's end")
    assert not any(thread.name == "gate" for thread in threading.enumerate())
    wait_for(
        lambda: not {"/passed", "/image_raw", "/stage_timing"} & outside.topics().keys(),
        "its topics leaving the graph",
    )
    wait_for(lambda: "/gate" not in outside.nodes(), "/gate leaving the graph")


def _resident_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_repeated_loading_does_not_leak(rig: Rig) -> None:
    def cycle() -> None:
        component = rig.load_component("plugins::Gate")
        rig.call(lambda: rig.container.unload(component.id))

    for _ in range(5):
        cycle()
    threads, before = threading.active_count(), _resident_kib()
    for _ in range(20):
        cycle()
    assert threading.active_count() == threads
    assert rig.container.components == []
    # A leaked node with its services and publishers is some 700 KiB; a busy machine's memory is
    # returned later, so half of that passes.
    assert _resident_kib() - before < 20 * 350


def test_closing_a_container_frees_components_that_run(rig: Rig) -> None:
    rig.load("plugins::Gate")
    rig.load("plugins::Plain")
    rig.close()
    assert not any(thread.name in ("gate", "spin") for thread in threading.enumerate())
    rig.close = lambda: None  # the fixture then has nothing to close

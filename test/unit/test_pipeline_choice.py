"""Which pipeline is observed, what is said where none is, and whose sensors are shown."""

from __future__ import annotations

import pytest

from edge_inference.cli.sessions.own_sensors import OwnSensors
from edge_inference.cli.sessions.pipeline_choice import PipelineChoice, is_of_pipeline
from edge_inference.core.platform_state import PlatformState
from edge_inference.observe.monitor.platform_rows import OWN_SENSORS

SECOND = 1_000_000_000


class Graph:
    """Pipelines that come and go; a second passes between two looks."""

    def __init__(self, wanted: str = "") -> None:
        self.choice = PipelineChoice(wanted)
        self.now_ns = 100 * SECOND

    def look(self, *found: str, is_silent: bool = False) -> str:
        self.now_ns += SECOND
        self.events = self.choice.update(found, self.now_ns)
        if not is_silent:
            self.choice.note_message(self.now_ns)
        return self.choice.status(self.now_ns)


def test_none_runs() -> None:
    graph = Graph()
    status = graph.look()
    assert status.startswith("no pipeline runs: start one with `ros2 launch edge_inference")
    assert "ROS_DOMAIN_ID" in status
    assert graph.choice.namespace is None
    assert graph.choice.update((), 0) == []


def test_a_sentence_names_only_some_of_many() -> None:
    names = [f"/robot{number:04}/ai" for number in range(1000)]
    for graph in (Graph(), Graph("/ai")):
        status = graph.look(*names)
        assert "/robot0000/ai" in status
        assert "992 more" in status
        assert len(status) < 500


def test_it_is_found_ends_and_starts_again() -> None:
    graph = Graph()
    graph.look()
    assert graph.look("/ai") == ""
    assert graph.events == [("/ai", "found")]
    assert graph.look("/ai") == ""
    assert graph.events == []
    status = graph.look()
    assert status == "the pipeline in /ai has ended; waiting until it starts again"
    assert graph.events == [("/ai", "gone")]
    assert graph.look("/ai") == ""
    assert graph.events == [("/ai", "started again")]


def test_several_run_and_none_is_chosen() -> None:
    graph = Graph()
    status = graph.look("/ai", "/ai_2")
    assert status == "2 pipelines run: /ai, /ai_2; choose one with --namespace /ai_2"
    assert graph.choice.namespace is None
    assert graph.look("/ai_2") == ""
    assert graph.choice.namespace == "/ai_2"


def test_it_stays_with_the_one_that_it_has_found() -> None:
    graph = Graph()
    graph.look("/ai")
    assert graph.look("/ai", "/ai_2") == ""
    assert (graph.choice.namespace, graph.choice.others) == ("/ai", ("/ai_2",))
    status = graph.look("/ai_2")
    assert status.endswith("starts again (/ai_2 runs: choose it with --namespace)")
    assert graph.choice.namespace == "/ai"


@pytest.mark.parametrize("wanted", ["ai_2", "/ai_2", "/ai_2/"])
def test_a_chosen_one(wanted: str) -> None:
    graph = Graph(wanted)
    assert graph.look().startswith("no pipeline runs in /ai_2; waiting for it")
    assert graph.look("/ai").startswith("no pipeline runs in /ai_2; those in /ai do; waiting")
    assert graph.look("/ai", "/ai_2") == ""
    assert graph.choice.namespace == "/ai_2"


def test_the_root_namespace() -> None:
    graph = Graph("/")
    assert graph.look("/ai").startswith("no pipeline runs in /; those in /ai do")
    assert graph.look("", "/ai") == ""
    assert graph.events == [("/", "found")]
    assert graph.look().startswith("the pipeline in / has ended")


def test_a_silent_one() -> None:
    graph = Graph()
    for _ in range(6):
        assert graph.look("/ai", is_silent=True) == ""
    status = graph.look("/ai", is_silent=True)
    assert status.startswith("nothing has come from /ai for 6 s: its nodes are not active yet")
    assert graph.look("/ai") == ""
    graph.look()
    graph.now_ns += 100 * SECOND
    assert graph.look("/ai", is_silent=True) == ""  # it has just started again


@pytest.mark.parametrize(
    ("node", "namespace", "others", "is_own"),
    [
        ("/ai/decode", "/ai", (), True),
        ("/camera/driver", "/ai", (), True),
        ("/ai_2/decode", "/ai", ("/ai_2",), False),
        ("/ai/decode", "/ai_2", ("/ai",), False),
        ("/camera/driver", "/ai", ("/ai_2",), True),
        ("/robot_1/camera/driver", "/robot_1/ai", ("/robot_2/ai",), True),
        ("/robot_2/camera/driver", "/robot_1/ai", ("/robot_2/ai",), False),
        ("/robot_1/camera/driver", "/robot_1/ai", ("/robot_1/ai_2",), True),
        ("/robot_1/ai_2/decode", "/robot_1/ai", ("/robot_1/ai_2",), False),
        ("/decode", "", ("/ai",), True),
        ("/ai/decode", "", ("/ai",), False),
        ("/ai/decode", "/ai", ("",), True),
        ("a driver", "/ai", ("/ai_2",), True),
    ],
)
def test_whose_nodes(node: str, namespace: str, others: tuple[str, ...], is_own: bool) -> None:
    assert is_of_pipeline(node, namespace, others) is is_own


class FakePlatform:
    """The sensors of a machine."""

    opened = 0
    closed = 0

    def __init__(self) -> None:
        FakePlatform.opened += 1
        self.is_open = True

    def sense(self, now_ns: int) -> PlatformState:
        assert self.is_open
        return PlatformState("board", (), now_ns)

    def close(self) -> None:
        FakePlatform.closed += 1
        self.is_open = False


def test_own_sensors_are_read_where_nobody_reports_them() -> None:
    FakePlatform.opened = FakePlatform.closed = 0
    sensors = OwnSensors(FakePlatform)  # type: ignore[arg-type]

    def shown(second: int) -> bool:
        sensors.update(second * SECOND)
        return sensors.row(second * SECOND) is not None

    assert not any(shown(second) for second in range(10))  # no process runs here
    sensors.note_process(10 * SECOND)
    assert shown(10)
    row = sensors.row(10 * SECOND + SECOND // 2)
    assert row is not None
    assert (row.source, row.age_s, row.board) == (OWN_SENSORS, 0.5, "board")
    assert shown(14)
    assert not shown(15)  # the process has been silent for 5 s
    sensors.note_process(15 * SECOND)
    assert shown(15)
    sensors.note_report(16 * SECOND)  # a platform manager starts
    sensors.note_process(18 * SECOND)
    assert not shown(16)
    assert not shown(18)
    assert shown(19)  # and ends
    assert (FakePlatform.opened, FakePlatform.closed) == (3, 2)
    sensors.close()
    sensors.close()
    assert FakePlatform.closed == 3
    assert sensors.row(19 * SECOND) is None


def test_the_platform_manager_has_time_to_report_first() -> None:
    sensors = OwnSensors(FakePlatform)  # type: ignore[arg-type]
    sensors.note_process(0)
    for second in (0, 1, 2):
        sensors.update(second * SECOND)
        assert sensors.row(second * SECOND) is None
    sensors.update(3 * SECOND)
    assert sensors.row(3 * SECOND) is not None
    sensors.close()

"""The publisher that is accepted on a private topic."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from edge_inference.composition.private_topics import PublisherFilter
from edge_inference.composition.reception import RawCallback

SECOND = 1_000_000_000
TOPIC = "/ai/tensor"


class Bench:
    """A topic with publishers ``a``, ``b`` … of nodes /a, /b …, and a manual clock."""

    def __init__(self, *publishers: str, own: tuple[str, ...] = ()) -> None:
        self.publishers, self.own = list(publishers), own
        self.names: dict[str, str] = {}
        self.reports: list[str] = []
        self.now_ns = 0
        self.graph_queries = 0
        self._one = PublisherFilter(self, TOPIC, lambda: self.own, self.reports.append)

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        assert topic == TOPIC
        self.graph_queries += 1
        return [
            SimpleNamespace(
                node_name=self.names.get(each, each),
                node_namespace="/",
                endpoint_gid=[*each.encode().ljust(16, b"."), *bytes(8)],
            )
            for each in self.publishers
        ]

    def accepts(self, who: str, after_s: float = 0.0, known: bool = True) -> bool:
        self.now_ns += int(after_s * SECOND)
        gid = {"data": who.encode().ljust(16, b".")} if known else None
        return self._one.accepts({"publisher_gid": gid}, self.now_ns)


def test_single_publisher_needs_no_graph_query() -> None:
    bench = Bench("a")
    assert all(bench.accepts("a", 0.01) for _ in range(100))
    assert (bench.reports, bench.graph_queries) == ([], 0)


def test_first_publisher_is_accepted_and_others_are_reported() -> None:
    bench = Bench("a", "b")
    accepted = [bench.accepts(who, 0.02) for _ in range(100) for who in "ab"]
    assert accepted == [True, False] * 100
    assert set(bench.reports) == {
        f"{TOPIC}: expected one publisher, got two: /a, and refused: /b; stop one of them, or "
        "give it its own namespace or ROS_DOMAIN_ID"
    }
    assert bench.graph_queries <= 9  # not one for each message


@pytest.mark.parametrize("period_s", [0.01, 1.0, 30.0])
def test_slow_publisher_is_not_silent(period_s: float) -> None:
    bench = Bench("a", "b")
    bench.accepts("a")
    bench.accepts("a", min(period_s, 1.0))
    for _ in range(5):
        assert bench.accepts("a", period_s)
        assert not bench.accepts("b", 0.9 * min(period_s, 2.0))


def test_silent_publisher_is_replaced() -> None:
    bench = Bench("a", "b")
    assert bench.accepts("a")
    assert not bench.accepts("b", 1.0)
    assert bench.accepts("b", 1.1)
    assert not bench.accepts("a", 0.1)
    assert bench.accepts("b", 0.1)


def test_silence_is_at_most_a_minute() -> None:
    bench = Bench("a", "b")
    bench.accepts("a")
    bench.now_ns += 1
    bench.accepts("a", 2000.0)
    assert not bench.accepts("b", 59.0)
    assert bench.accepts("b", 2.0)


def test_publisher_that_left_the_graph_is_replaced_at_once() -> None:
    bench = Bench("a", "b")
    bench.accepts("a")
    bench.accepts("a", 10.0)
    bench.publishers.remove("a")
    assert bench.accepts("b", 0.5)
    assert bench.reports == []


def test_restarted_publisher_is_accepted() -> None:
    bench = Bench("a", "new")
    bench.names = {"new": "a"}
    bench.accepts("a")
    assert bench.accepts("new", 2.1)


def test_other_identities_in_the_graph_do_not_replace_the_publisher() -> None:
    bench = Bench("something", "else")
    bench.accepts("a")
    assert not bench.accepts("b", 0.5)
    assert (
        f"{TOPIC}: expected one publisher, got /else, /something: only the first"
        in bench.reports[0]
    )


@pytest.mark.parametrize("known", [True, False])
def test_local_publisher_takes_precedence(known: bool) -> None:
    bench = Bench("own", "b", own=("/own",))
    assert not any(bench.accepts("b", 0.1, known) for _ in range(100))
    assert {reports.partition("; ")[0] for reports in bench.reports} == {
        f"{TOPIC}: expected one publisher, got two: /own of this process, and refused: /b"
    }
    bench.own, bench.publishers = (), ["b"]
    assert bench.accepts("b", 0.1, known)


def test_external_publisher_of_the_same_name_is_reported() -> None:
    bench = Bench("own", "b", own=("/own",))
    bench.names = {"b": "own"}
    assert not bench.accepts("b", 0.1)
    assert "refused: another /own;" in bench.reports[0]


@pytest.mark.parametrize("known", [True, False])
def test_late_local_message_is_not_reported(known: bool) -> None:
    bench = Bench("own", own=("/own",))
    assert not bench.accepts("own", 0.1, known)
    assert bench.reports == []


def test_without_identities_all_publishers_are_accepted_and_reported() -> None:
    bench = Bench("b", "a")
    assert all(bench.accepts(who, 0.1, known=False) for _ in range(10) for who in "ab")
    assert {reports.partition(";")[0] for reports in bench.reports} == {
        f"{TOPIC}: expected one publisher, got /a, /b"
    }
    bench.publishers = ["a"]
    reports = len(bench.reports)
    assert bench.accepts("a", 5.0, known=False)
    assert len(bench.reports) == reports


def test_callback_accepts_every_form_of_rclpy() -> None:
    taken: list[tuple[bytes, Any]] = []
    callback = RawCallback(lambda data, info: taken.append((data, info)))
    with pytest.raises(TypeError):  # which makes rclpy pass the info, too
        inspect.signature(callback).bind(object())
    inspect.signature(callback).bind(object(), object())
    callback(b"1", {"publisher_gid": None})
    callback((b"2", {"publisher_gid": None}))
    callback(b"3")
    assert taken == [(b"1", {"publisher_gid": None}), (b"2", {"publisher_gid": None}), (b"3", None)]

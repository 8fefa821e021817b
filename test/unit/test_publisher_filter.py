"""Who is heard on a topic that is for one publisher."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from edge_inference.composition.private_topics import PublisherFilter, RawCallback

SECOND = 1_000_000_000
TOPIC = "/ai/tensor"


class Bench:
    """A topic with publishers ``a``, ``b`` … of nodes /a, /b …; time passes when it is told to."""

    def __init__(self, *there: str, own: tuple[str, ...] = ()) -> None:
        self.there, self.own = list(there), own
        self.names: dict[str, str] = {}
        self.told: list[str] = []
        self.now_ns = 0
        self.looks = 0
        self._one = PublisherFilter(self, TOPIC, lambda: self.own, self.told.append)

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        assert topic == TOPIC
        self.looks += 1
        return [
            SimpleNamespace(
                node_name=self.names.get(each, each),
                node_namespace="/",
                endpoint_gid=[*each.encode().ljust(16, b"."), *bytes(8)],
            )
            for each in self.there
        ]

    def hears(self, who: str, after_s: float = 0.0, known: bool = True) -> bool:
        self.now_ns += int(after_s * SECOND)
        gid = {"data": who.encode().ljust(16, b".")} if known else None
        return self._one.admits({"publisher_gid": gid}, self.now_ns)


def test_a_single_publisher_is_heard_and_the_graph_is_left_alone() -> None:
    bench = Bench("a")
    assert all(bench.hears("a", 0.01) for _ in range(100))
    assert (bench.told, bench.looks) == ([], 0)


def test_the_first_is_heard_and_another_is_told_of() -> None:
    bench = Bench("a", "b")
    heard = [bench.hears(who, 0.02) for _ in range(100) for who in "ab"]
    assert heard == [True, False] * 100
    assert set(bench.told) == {
        f"{TOPIC}: expected one publisher, got two: /a, and not heard: /b; end one of them, or "
        "give it a namespace or a ROS_DOMAIN_ID of its own"
    }
    assert bench.looks <= 9  # not one for each message


@pytest.mark.parametrize("period_s", [0.01, 1.0, 30.0])
def test_a_slow_one_is_not_taken_for_a_silent_one(period_s: float) -> None:
    bench = Bench("a", "b")
    bench.hears("a")
    bench.hears("a", min(period_s, 1.0))
    for _ in range(5):
        assert bench.hears("a", period_s)
        assert not bench.hears("b", 0.9 * min(period_s, 2.0))


def test_one_that_has_fallen_silent_gives_way() -> None:
    bench = Bench("a", "b")
    assert bench.hears("a")
    assert not bench.hears("b", 1.0)
    assert bench.hears("b", 1.1)
    assert not bench.hears("a", 0.1)
    assert bench.hears("b", 0.1)


def test_no_period_is_waited_for_beyond_a_minute() -> None:
    bench = Bench("a", "b")
    bench.hears("a")
    bench.now_ns += 1
    bench.hears("a", 2000.0)
    assert not bench.hears("b", 59.0)
    assert bench.hears("b", 2.0)


def test_one_that_has_left_the_graph_gives_way_at_once() -> None:
    bench = Bench("a", "b")
    bench.hears("a")
    bench.hears("a", 10.0)
    bench.there.remove("a")
    assert bench.hears("b", 0.5)
    assert bench.told == []


def test_one_that_starts_again_under_its_name_is_heard() -> None:
    bench = Bench("a", "new")
    bench.names = {"new": "a"}
    bench.hears("a")
    assert bench.hears("new", 2.1)


def test_a_graph_that_names_publishers_otherwise_takes_nobody_away() -> None:
    bench = Bench("something", "else")
    bench.hears("a")
    assert not bench.hears("b", 0.5)
    assert f"{TOPIC}: expected one publisher, got /else, /something: the first" in bench.told[0]


@pytest.mark.parametrize("known", [True, False])
def test_our_own_comes_first_wherever_publishers_are_told_apart_or_not(known: bool) -> None:
    bench = Bench("own", "b", own=("/own",))
    assert not any(bench.hears("b", 0.1, known) for _ in range(100))
    assert {told.partition("; ")[0] for told in bench.told} == {
        f"{TOPIC}: expected one publisher, got two: /own of this process, and not heard: /b"
    }
    bench.own, bench.there = (), ["b"]
    assert bench.hears("b", 0.1, known)


def test_a_stranger_of_the_same_name_is_told_of() -> None:
    bench = Bench("own", "b", own=("/own",))
    bench.names = {"b": "own"}
    assert not bench.hears("b", 0.1)
    assert "not heard: another /own;" in bench.told[0]


@pytest.mark.parametrize("known", [True, False])
def test_a_message_of_our_own_that_comes_late_is_no_news(known: bool) -> None:
    bench = Bench("own", own=("/own",))
    assert not bench.hears("own", 0.1, known)
    assert bench.told == []


def test_where_nobody_is_told_apart_all_are_heard_and_told_of() -> None:
    bench = Bench("b", "a")
    assert all(bench.hears(who, 0.1, known=False) for _ in range(10) for who in "ab")
    assert {told.partition(";")[0] for told in bench.told} == {
        f"{TOPIC}: expected one publisher, got /a, /b"
    }
    bench.there = ["a"]
    told = len(bench.told)
    assert bench.hears("a", 5.0, known=False)
    assert len(bench.told) == told


def test_what_rclpy_hands_over_is_understood_in_every_form() -> None:
    taken: list[tuple[bytes, Any]] = []
    callback = RawCallback(lambda data, info: taken.append((data, info)))
    with pytest.raises(TypeError):  # which makes rclpy give the info, too
        inspect.signature(callback).bind(object())
    inspect.signature(callback).bind(object(), object())
    callback(b"1", {"publisher_gid": None})
    callback((b"2", {"publisher_gid": None}))
    callback(b"3")
    assert taken == [(b"1", {"publisher_gid": None}), (b"2", {"publisher_gid": None}), (b"3", None)]

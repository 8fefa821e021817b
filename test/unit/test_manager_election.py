"""One of several managers is active."""

from __future__ import annotations

import pytest

from edge_inference.core.directives.manager_election import LISTEN_NS, SILENCE_NS, ManagerElection

HALF = 500_000_000


def active_managers(
    receivers: dict[str, set[str]], started_ns: dict[str, int], until_ns: int
) -> list[list[str]]:
    """Return the active managers at each half second; ``receivers`` get what a manager sends."""
    alive: dict[str, ManagerElection] = {}
    history = []
    for now_ns in range(0, until_ns, HALF):
        for name, at in started_ns.items():
            if name not in alive and at <= now_ns:
                alive[name] = ManagerElection(name, now_ns)
        active = [name for name, each in alive.items() if each.is_active(now_ns)]
        for name in active:
            for other in receivers[name] & alive.keys():
                alive[other].receive(name, now_ns)
        history.append(active)
    return history


BOTH = {"a": {"a", "b"}, "b": {"a", "b"}}


def test_a_new_manager_listens_first() -> None:
    history = active_managers({"a": {"a"}}, {"a": 0}, 4 * LISTEN_NS)
    listening = LISTEN_NS // HALF
    assert history[:listening] == [[]] * listening
    assert set(map(tuple, history[listening:])) == {("a",)}


@pytest.mark.parametrize("first", ["a", "b"])
def test_an_active_manager_stays_active(first: str) -> None:
    (second,) = {"a", "b"} - {first}
    history = active_managers(BOTH, {first: 0, second: 10 * HALF}, 100 * HALF)
    assert [second] not in history
    assert history[-1] == [first]


def test_of_two_simultaneous_managers_the_first_by_name_stays_active() -> None:
    history = active_managers(BOTH, {"b": 0, "a": 0}, 100 * HALF)
    assert history[-1] == ["a"]
    assert sum(len(each) > 1 for each in history) <= 2


def test_invented_names_are_not_kept() -> None:
    standby = ManagerElection("b", 0)
    standby.receive("a", 0)
    for number in range(5000):
        standby.receive(f"invented-{number}", number)
    others = standby.others(5000)
    assert "a" in others
    assert len(others) <= 16
    standby.receive("late", SILENCE_NS + 200_000)
    assert standby.others(SILENCE_NS + 200_000) == ["late"]


def test_a_standby_manager_takes_over_from_a_silent_one() -> None:
    standby = ManagerElection("b", 0)
    standby.receive("a", LISTEN_NS)
    assert not standby.is_active(LISTEN_NS + SILENCE_NS - 1)
    assert standby.is_active(LISTEN_NS + SILENCE_NS)

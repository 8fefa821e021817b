"""Of several managers one speaks."""

from __future__ import annotations

import pytest

from edge_inference.core.directives.manager_election import LISTEN_NS, SILENCE_NS, ManagerElection

HALF = 500_000_000


def leaders(heard: dict[str, set[str]], born_ns: dict[str, int], until_ns: int) -> list[list[str]]:
    """Return who speaks at each half second; ``heard`` tells whose words reach whom."""
    alive: dict[str, ManagerElection] = {}
    told = []
    for now_ns in range(0, until_ns, HALF):
        for name, at in born_ns.items():
            if name not in alive and at <= now_ns:
                alive[name] = ManagerElection(name, now_ns)
        speak = [name for name, each in alive.items() if each.is_active(now_ns)]
        for name in speak:
            for other in heard[name] & alive.keys():
                alive[other].receive(name, now_ns)
        told.append(speak)
    return told


BOTH = {"a": {"a", "b"}, "b": {"a", "b"}}


def test_a_newcomer_listens_first() -> None:
    told = leaders({"a": {"a"}}, {"a": 0}, 4 * LISTEN_NS)
    quiet = LISTEN_NS // HALF
    assert told[:quiet] == [[]] * quiet
    assert set(map(tuple, told[quiet:])) == {("a",)}


@pytest.mark.parametrize("first", ["a", "b"])
def test_who_speaks_already_goes_on(first: str) -> None:
    (second,) = {"a", "b"} - {first}
    told = leaders(BOTH, {first: 0, second: 10 * HALF}, 100 * HALF)
    assert [second] not in told
    assert told[-1] == [first]


def test_of_two_that_begin_at_once_the_first_by_name_goes_on() -> None:
    told = leaders(BOTH, {"b": 0, "a": 0}, 100 * HALF)
    assert told[-1] == ["a"]
    assert sum(len(each) > 1 for each in told) <= 2


def test_names_that_somebody_makes_up_are_not_kept() -> None:
    standby = ManagerElection("b", 0)
    standby.receive("a", 0)
    for number in range(5000):
        standby.receive(f"made-up-{number}", number)
    others = standby.others(5000)
    assert "a" in others
    assert len(others) <= 16
    standby.receive("late", SILENCE_NS + 200_000)
    assert standby.others(SILENCE_NS + 200_000) == ["late"]


def test_one_takes_over_when_the_other_falls_silent() -> None:
    standby = ManagerElection("b", 0)
    standby.receive("a", LISTEN_NS)
    assert not standby.is_active(LISTEN_NS + SILENCE_NS - 1)
    assert standby.is_active(LISTEN_NS + SILENCE_NS)

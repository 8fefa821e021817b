"""The search finds the needed members, whatever the ranking, in a bounded number of tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.optimize.minimal_set import Members, MinimalSet, find_minimal_set

NAMES = [f"n{index:02d}" for index in range(24)]


def groups(*names: str) -> list[Members]:
    return [frozenset(name.split("+")) for name in names]


def search(needed: set[str], ranking: list[Members], max_tries: int = 200) -> MinimalSet:
    trivial_set = frozenset(NAMES)
    return find_minimal_set(ranking, trivial_set, lambda members: needed <= members, max_tries)


@pytest.mark.parametrize(
    ("needed", "ranking", "members"),
    [
        ({"a"}, [], None),
        ({"a"}, groups("a"), ("a",)),
        ({"a"}, groups("b", "c"), None),
        ({"b"}, groups("a", "b", "c"), ("b",)),
        ({"a", "b"}, groups("a+b"), ("a", "b")),
        ({"c"}, groups("a+b", "b+c"), ("c",)),
        ({"a", "e"}, groups("a", "b", "c", "d", "e"), ("a", "e")),
    ],
)
def test_table(needed: set[str], ranking: list[Members], members: tuple[str, ...] | None) -> None:
    assert search(needed, ranking).members == members


@given(st.permutations(NAMES), st.sets(st.integers(0, len(NAMES) - 2), min_size=1, max_size=6))
def test_exactly_the_needed_members_are_found(ranking: list[str], places: set[int]) -> None:
    needed = {ranking[place] for place in places}
    found = search(needed, groups(*ranking))
    assert set(found.members or ()) == needed
    assert found.is_minimal


@given(st.permutations(NAMES), st.sets(st.sampled_from(NAMES), min_size=1), st.integers(1, 12))
def test_tries_are_limited_and_the_reported_set_passed(
    ranking: list[str], needed: set[str], max_tries: int
) -> None:
    tried: list[Members] = []

    def passes(members: Members) -> bool:
        tried.append(members)
        return needed <= members

    found = find_minimal_set(groups(*ranking), frozenset(NAMES), passes, max_tries)
    assert found.tries == len(tried) <= max_tries
    assert len(tried) == len(set(tried))
    assert frozenset(NAMES) not in tried
    if found.members is not None:
        assert needed <= set(found.members)


@given(st.data())
def test_no_member_can_be_removed_even_if_a_larger_set_fails(data: st.DataObject) -> None:
    answers: dict[Members, bool] = {}

    def passes(members: Members) -> bool:
        if members not in answers:
            answers[members] = data.draw(st.booleans())
        return answers[members]

    found = find_minimal_set(groups(*NAMES[:8]), frozenset(NAMES), passes, 500)
    if found.members is not None:
        best = frozenset(found.members)
        assert answers[best]
        assert not any(answers.get(best - {name}, False) for name in best)


def test_a_cancelled_search_keeps_its_best() -> None:
    tried: list[Members] = []

    def passes(members: Members) -> bool:
        tried.append(members)
        return len(members) >= 4

    ranking = groups(*NAMES[:8])
    found = find_minimal_set(ranking, frozenset(NAMES), passes, 100, lambda: len(tried) == 3)
    assert found == MinimalSet(tuple(NAMES[:4]), False, 3)

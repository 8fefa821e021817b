"""Finds a small set that passes a test, from a ranking of its likely members.

The search has three steps and never tries all subsets:

1. *Grow*: take the first one, two, four … groups of the ranking until the test passes.
2. *Bisect*: halve the last step until the shortest passing prefix of the ranking is known.
3. *Reduce*: remove halves, quarters … and finally single members while the test still passes
   (the minimizing half of delta debugging: Zeller and Hildebrandt, Simplifying and Isolating
   Failure-Inducing Input, 2002).

The result is minimal in the sense that no single member can be removed. A smaller set of other
members may exist; only trying all subsets could tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Members = frozenset[str]
PassTest = Callable[[Members], bool]


@dataclass(frozen=True)
class MinimalSet:
    """The smallest passing set that was found.

    ``members`` are in the order of the ranking, None if no set passed. ``is_minimal`` tells
    whether each member is known to be needed; this is not known if the tries ran out or the
    search was cancelled.
    """

    members: tuple[str, ...] | None
    is_minimal: bool
    tries: int


def find_minimal_set(
    ranking: Sequence[Members],
    trivial_set: Members,
    passes: PassTest,
    max_tries: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> MinimalSet:
    """Search as the module describes, with at most ``max_tries`` calls of ``passes``.

    ``ranking`` lists groups of members that belong together, likeliest first. A set that
    includes all of ``trivial_set`` is never tried. ``cancelled`` is called before each try.
    """
    search = _Search(ranking, trivial_set, passes, max_tries, cancelled)
    try:
        search.grow_and_bisect()
        search.reduce()
    except _SearchEndedError:
        return MinimalSet(search.best_members(), False, search.tries)
    return MinimalSet(search.best_members(), search.best is not None, search.tries)


class _SearchEndedError(Exception):
    """The tries ran out, or the search was cancelled."""


class _Search:
    def __init__(
        self,
        ranking: Sequence[Members],
        trivial_set: Members,
        passes: PassTest,
        max_tries: int,
        cancelled: Callable[[], bool],
    ) -> None:
        self._ranking = ranking
        self._trivial_set = trivial_set
        self._passes = passes
        self._max_tries = max_tries
        self._cancelled = cancelled
        self._outcomes: dict[Members, bool] = {}
        self.best: Members | None = None
        self.tries = 0

    def best_members(self) -> tuple[str, ...] | None:
        """Return the best set in the order of the ranking."""
        if self.best is None:
            return None
        ranked = dict.fromkeys(name for group in self._ranking for name in sorted(group))
        return tuple(name for name in ranked if name in self.best)

    def grow_and_bisect(self) -> None:
        failing, size = 0, 1
        max_size = self._max_prefix()
        while failing < max_size:
            size = min(size, max_size)
            if self._try(self._prefix(size)):
                break
            failing, size = size, size * 2
        else:
            return
        passing = size
        while passing - failing > 1:
            middle = (passing + failing) // 2
            if self._try(self._prefix(middle)):
                passing = middle
            else:
                failing = middle

    def reduce(self) -> None:
        """Remove ever smaller pieces, the lowest ranked first."""
        size = len(self.best or ())
        while self.best is not None and size >= 1:
            members = list(reversed(self.best_members() or ()))
            pieces = [
                frozenset(members[start : start + size]) for start in range(0, len(members), size)
            ]
            if not any(self._try(self.best - piece) for piece in pieces if piece != self.best):
                size //= 2
            else:
                size = min(size, len(self.best))

    def _max_prefix(self) -> int:
        """Return the length of the longest prefix that may be tried."""
        size = len(self._ranking)
        while size and self._prefix(size) >= self._trivial_set:
            size -= 1
        return size

    def _prefix(self, size: int) -> Members:
        return frozenset().union(*self._ranking[:size])

    def _try(self, members: Members) -> bool:
        if members >= self._trivial_set:
            return False
        if members not in self._outcomes:
            if self.tries >= self._max_tries or self._cancelled():
                raise _SearchEndedError
            self.tries += 1
            self._outcomes[members] = self._passes(members)
        if self._outcomes[members] and (self.best is None or len(members) < len(self.best)):
            self.best = members
        return self._outcomes[members]

"""Searches a small set of things that makes a test pass, from a ranking that is only a guess.

Three steps, none of which tries all subsets. *Grow*: take the first one, two, four …
groups of the ranking until the test passes. *Cut*: halve the last stretch of the ranking
until the shortest beginning that passes is known. *Give back*: leave out halves, quarters
… and in the end single members as long as the test still passes (the minimising half of
delta debugging: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input,
2002). What is left is minimal in the sense that no single member can be given back. A
smaller set of other members may exist: only trying all of them could tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Members = frozenset[str]
Passes = Callable[[Members], bool]


@dataclass(frozen=True)
class MinimalSet:
    """The smallest passing set that was met; None where none passed.

    ``members`` are in the order of the ranking. ``is_minimal`` tells whether each of them
    is known to be needed; they are not where the tries ran out or the search was stopped.
    """

    members: tuple[str, ...] | None
    is_minimal: bool
    tries: int


def find_minimal_set(
    ranking: Sequence[Members],
    everything: Members,
    passes: Passes,
    most_tries: int,
    stopped: Callable[[], bool] = lambda: False,
) -> MinimalSet:
    """Search as the module says, with at most ``most_tries`` calls of ``passes``.

    ``ranking`` are groups that belong together, likeliest first. A set with all of
    ``everything`` is not tried: it is no answer. ``stopped`` is asked before each try.
    """
    search = _Search(ranking, everything, passes, most_tries, stopped)
    try:
        search.grow_and_cut()
        search.give_back()
    except _SearchEndedError:
        return MinimalSet(search.ordered(), False, search.tries)
    return MinimalSet(search.ordered(), search.best is not None, search.tries)


class _SearchEndedError(Exception):
    """The tries have run out, or the search was stopped."""


class _Search:
    def __init__(
        self,
        ranking: Sequence[Members],
        everything: Members,
        passes: Passes,
        most_tries: int,
        stopped: Callable[[], bool],
    ) -> None:
        self._ranking = ranking
        self._everything = everything
        self._passes = passes
        self._most_tries = most_tries
        self._stopped = stopped
        self._known: dict[Members, bool] = {}
        self.best: Members | None = None
        self.tries = 0

    def ordered(self) -> tuple[str, ...] | None:
        """Return the best set in the order of the ranking."""
        if self.best is None:
            return None
        ranked = dict.fromkeys(name for group in self._ranking for name in sorted(group))
        return tuple(name for name in ranked if name in self.best)

    def grow_and_cut(self) -> None:
        failing, size = 0, 1
        longest = self._longest()
        while failing < longest:
            size = min(size, longest)
            if self._try(self._beginning(size)):
                break
            failing, size = size, size * 2
        else:
            return
        passing = size
        while passing - failing > 1:
            middle = (passing + failing) // 2
            if self._try(self._beginning(middle)):
                passing = middle
            else:
                failing = middle

    def give_back(self) -> None:
        """Leave out ever smaller pieces; the least likely ones first."""
        piece = len(self.best or ())
        while self.best is not None and piece >= 1:
            members = list(reversed(self.ordered() or ()))
            pieces = [frozenset(members[at : at + piece]) for at in range(0, len(members), piece)]
            if not any(self._try(self.best - some) for some in pieces if some != self.best):
                piece //= 2
            else:
                piece = min(piece, len(self.best))

    def _longest(self) -> int:
        """Return the length of the longest beginning that may be tried."""
        size = len(self._ranking)
        while size and self._beginning(size) >= self._everything:
            size -= 1
        return size

    def _beginning(self, size: int) -> Members:
        return frozenset().union(*self._ranking[:size])

    def _try(self, members: Members) -> bool:
        if members >= self._everything:
            return False
        if members not in self._known:
            if self.tries >= self._most_tries or self._stopped():
                raise _SearchEndedError
            self.tries += 1
            self._known[members] = self._passes(members)
        if self._known[members] and (self.best is None or len(members) < len(self.best)):
            self.best = members
        return self._known[members]

"""The word that overtakes everything: found in any text, also in what is only half said."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from edge_inference.core.settings import setting
from edge_inference.core.voice import ActionPlan, Transcript
from edge_inference.speech.words import words_of

STOP_WORDS = frozenset(
    {
        *("stop", "halt", "freeze", "wait", "cancel"),
        *("hold on", "no no no", "don't move", "do not move"),
    }
)
# Said around it: "please stop now", "stop stop robot".
_AROUND = frozenset({"please", "now", "robot", "hey", "it", "right", "there"})
#: Words that turn the one behind them around.
NEGATIONS = frozenset({"dont", "not", "never", "without", "cannot", "cant", "non"})
# Others are told by their end: mustnt, wouldnt, isnt, and "do n't".
_NEGATED = re.compile(
    r"(?:is|are|was|were|has|have|had|do|does|did|wo|would|sha|should|could|must"
    r"|need|might|ai|may)?nt"
)
#: Words that make something else of a command, though they are few of its letters.
TURNING = NEGATIONS | {
    *("no", "if", "when", "until", "unless", "wont", "shouldnt", "didnt"),
    *(
        "nor",
        "neither",
        "nobody",
        "avoid",
        "forbid",
        "forbidden",
        "instead",
        "whenever",
        "provided",
    ),
}
# "No, go left" is meant as it is said.
_ANSWERS = frozenset({"no", "non"})
#: How soon what is said counts as meant by the words before it.
_HOLD_NS = 1_500_000_000
_QUOTED = 60
_REMEMBERED = 16
_SOMETHING = "something that a gap in the sound cut off"
_STILL_ACTIONS = frozenset({"stop", "look", "say"})
# "Go on and stop": it stops when it is there.
_JOINERS = frozenset({"and", "then"})


@dataclass(frozen=True)
class StopSettings:
    """What stops the robot; the same for everybody who listens for it."""

    stop_words: tuple[str, ...] = setting(
        tuple(sorted(STOP_WORDS)),
        "words and phrases that stop the robot at the beginning or end of a text",
    )

    def check(self) -> str | None:
        """Say what is wrong with the words."""
        if not self.stop_words:
            return (
                "stop_words: expected at least one word, got none; the robot could not be stopped"
            )
        for word in self.stop_words:
            if not words_of(word) or word != word.lower():
                return f"stop_words: expected words in small letters, got {word!r}"
        return None


def is_stop(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text, final or partial, says stop: see :func:`stop_word_of`."""
    return bool(stop_word_of(text, stop_words))


def stop_word_of(text: str, stop_words: Collection[str] = STOP_WORDS) -> str:
    """Return the word or phrase for stop that a text begins or ends with; empty where none does.

    Rather too often than too rarely: to stop is always safe. ``don't stop`` does not count.
    """
    heard = _without_around(text)
    for phrase in stop_words:
        words = _without_around(phrase) or words_of(phrase)
        if heard[: len(words)] == words:
            return phrase
        before = heard[: -len(words)]
        if heard[len(before) :] == words and not set(before[-1:]) & (NEGATIONS | _JOINERS):
            return phrase
    return ""


def holds_back(text: str) -> bool:
    """Tell whether a text has a negation or a condition, and no command in it is to be trusted.

    Said before a pause, as in ``don't … go forward``, it is about what comes behind.
    """
    return any(
        word in TURNING - _ANSWERS or _NEGATED.fullmatch(word) is not None
        for word in words_of(text)
    )


class _CutOff(NamedTuple):
    """A negation or condition before a pause: its text, its start, and until when it holds.

    The last time is one of the steady clock.
    """

    text: str
    start_ns: int
    until_ns: int
    steady_until_ns: int


class HeldBack:
    """Keeps plans that move back which were spoken behind a negation or condition.

    What begins within 1.5 s after that was heard belongs to it, however long it goes on, and so
    does what begins so soon behind that. Where nobody knows when it began, the moment counts at
    which it was first heard of. Speech that a gap in the sound has cut may have been a negation.
    """

    def __init__(self, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._steady_ns = steady_ns
        # Replaced as a whole: words and plans come in threads of their own.
        self._cut_off = _CutOff("", 0, 0, 0)
        self._held_ns: deque[int] = deque(maxlen=_REMEMBERED)
        self._goes_on = False
        #: What is being said, as far as it was heard of; its start is 0 where nobody speaks.
        self._open = self._cut_off

    def hear(self, transcript: Transcript, now_ns: int) -> str:
        """Take what was said, final or partial; return why it is held back, empty where it is not.

        ``now_ns`` is the moment of the last sample with speech or any later one.
        """
        self._notice_a_gap(transcript, now_ns)
        is_held = self._belongs(transcript, now_ns)
        self._goes_on = is_held and not transcript.is_final
        if is_held:
            self._held_ns.append(transcript.stamp_ns)
        problem = self._problem() if is_held else ""
        # Of partial texts only where later ones of the same speech can be told from what follows.
        counts = transcript.is_final or transcript.start_ns
        if counts and holds_back(transcript.text):
            text = transcript.text[:_QUOTED]
            self._cut_off = self._holding(text, transcript.start_ns, now_ns)
        elif is_held and transcript.is_final:
            self._cut_off = self._holding(self._cut_off.text, transcript.start_ns, now_ns)
        return problem

    def problem(self, plan: ActionPlan, now_ns: int) -> str:
        """Return why a plan is not to be followed; empty where it is."""
        if not any(step.action not in _STILL_ACTIONS for step in plan.steps):
            return ""
        if plan.stamp_ns in self._held_ns:
            return self._problem()
        cut_off = self._cut_off
        is_set_back = cut_off.until_ns - now_ns > _HOLD_NS  # the clock, not the words
        # A simulation's clock may be quicker than whoever speaks to it.
        is_over = plan.stamp_ns > cut_off.until_ns or is_set_back
        if not cut_off.text or (is_over and self._steady_ns() > cut_off.steady_until_ns):
            return ""
        return self._problem()

    def _notice_a_gap(self, transcript: Transcript, now_ns: int) -> None:
        """Take note of speech that has begun, and that has never come to an end."""
        start_ns = transcript.start_ns
        if not start_ns:
            return
        if 0 < self._open.start_ns < start_ns:
            self._cut_off = self._open
        begun = self._holding(_SOMETHING, start_ns, now_ns)
        self._open = begun._replace(start_ns=0) if transcript.is_final else begun

    def _holding(self, text: str, start_ns: int, now_ns: int) -> _CutOff:
        return _CutOff(text, start_ns, now_ns + _HOLD_NS, self._steady_ns() + _HOLD_NS)

    def _belongs(self, transcript: Transcript, now_ns: int) -> bool:
        cut_off, start_ns = self._cut_off, transcript.start_ns
        is_the_same = start_ns != 0 and start_ns == cut_off.start_ns
        if not cut_off.text or not transcript.text or is_the_same:
            return False
        is_set_back = cut_off.until_ns - now_ns > _HOLD_NS
        is_known = self._goes_on and not start_ns
        return is_known or ((start_ns or now_ns) <= cut_off.until_ns and not is_set_back)

    def _problem(self) -> str:
        return f"I heard {self._cut_off.text!r} just before that; please say all of it again"


def _without_around(text: str) -> tuple[str, ...]:
    return tuple(word for word in words_of(text) if word not in _AROUND)

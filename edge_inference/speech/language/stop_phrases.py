"""The word that overtakes everything: found in any text, also in what is only half said."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

from edge_inference.core.settings import setting
from edge_inference.core.voice import ActionPlan, Transcript
from edge_inference.speech.language.text_normalization import split_clauses, split_words

STOP_WORDS = frozenset(
    {
        *("stop", "halt", "freeze", "wait", "cancel", "abort", "whoa"),
        *("hold on", "hold it", "stand still", "no no no", "don't move", "do not move"),
        *("hang on", "hold up", "pause", "woah", "stay there", "stay put", "stay where you are"),
        *("that's enough", "that is enough", "nobody move", "quit it", "forget it"),
        *("cut it out", "knock it off"),
    }
)
# Words that turn the one behind them around.
_NEGATIONS = frozenset({"dont", "not", "never", "without", "cannot", "cant", "non"})
# Others are told by their end: mustnt, wouldnt, isnt, and "do n't".
_NEGATED = re.compile(
    r"(?:is|are|was|were|has|have|had|do|does|did|wo|would|sha|should|could|must"
    r"|need|might|ai|may)?nt"
)
#: Words that make something else of a command, though they are few of its letters.
NEGATIONS_AND_CONDITIONS = _NEGATIONS | {
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
# What a scene has in it, and is asked for by name.
_SIGNS = frozenset({"sign", "signs"})
# In the middle of a sentence: "he has to stop at the shop", "the bus stop is over there".
_OTHERS = frozenset({"he", "she", "they", "people"})
_ARTICLES = frozenset({"the", "a", "this", "that"})
_BEING = frozenset({"is", "was", "has"})
_NEAR = 6
# Told not to. "It cannot stop" or "why won't you stop" is no reason to go on.
_FORBIDDING = (
    *(("dont",), ("do", "not"), ("never",), ("mustnt",), ("must", "not")),
    *(("shouldnt",), ("should", "not")),
)
# "I don't know" tells of somebody, and tells nobody to leave anything; "I heard don't" is how the
# robot asks for something again.
_TELLING = frozenset({"i", "we", "they", "who", "people", "heard"})
# Elsewhere in a sentence these tell of something: "it has never been there", "it is not far".
_ONLY_FIRST = (("never",), ("not",))
_NOES = frozenset({"no", "nope", "nah", "nevermind"})
# Noes where nothing else is said: "enough", "please stay", not "I stay at home".
_ALONE = frozenset({"enough", "stay", "wrong", "negative", "incorrect", "cease"})
# Said around a no: "oh no please", "no way", "no thank you".
_BESIDE_NO = frozenset(
    {
        *("oh", "hey", "okay", "ok", "please", "robot", "now", "again", "way", "thanks", "thank"),
        *("you", "that", "this", "it", "there", "god", "come", "on", "just", "so", "but", "well"),
        *("um", "umm", "uh", "uhm", "er", "erm", "hm", "hmm", "mm", "ah", "actually", "really"),
        *("absolutely", "definitely", "certainly", "sorry", "listen", "alright", "yeah", "yes"),
        *("sir", "madam", "maam", "man", "mate", "buddy", "dude", "thats"),
    }
)
_SPELLED = 3
_REPEATED = re.compile(r"(.)\1+")
_SHORTEST_TWICE = 4


@dataclass(frozen=True)
class StopSettings:
    """What stops the robot; the same for everybody who listens for it."""

    stop_words: tuple[str, ...] = setting(
        tuple(sorted(STOP_WORDS)),
        "words and phrases that stop the robot wherever they stand in a text",
    )

    def check(self) -> str | None:
        """Say what is wrong with the words."""
        if not self.stop_words:
            return (
                "stop_words: expected at least one word, got none; the robot could not be stopped"
            )
        for word in self.stop_words:
            if not split_words(word) or word != word.lower():
                return f"stop_words: expected words in small letters, got {word!r}"
        return None


def is_stop(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text, final or partial, says stop: see :func:`stop_word_of`."""
    return bool(find_stop_word(text, stop_words))


def find_stop_word(
    text: str, stop_words: Collection[str] = STOP_WORDS, *, in_turn: bool = True
) -> str:
    """Return the word or phrase for stop that a text has in it; empty where it has none.

    Rather too often than too rarely: to stop is always safe, also at a bus stop. Only a word that
    directly follows *don't*, *do not*, *never*, *must not* or *should not* does not count, nor does
    a stop sign, or what is told of others in the middle of a sentence. With ``in_turn`` what
    follows *and* or *then* is the last of several commands, and does not count yet.
    """
    heard = _heard(text, stop_words)
    for each in (heard, _spelled(heard)):
        texts = [word.text for word in each]
        for phrase in stop_words:
            words = split_words(phrase)
            for place in _places(texts, words):
                if not _is_meant_otherwise(each, place, place + len(words), in_turn):
                    return phrase
    return ""


def is_rejection(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text is a no to what goes on: "no", "don't do that", "no no", "not there".

    *Don't* and its like count anywhere unless they only tell of somebody ("I don't know") or are
    about a word for stop ("don't stop"); a no counts alone, said twice or last ("go forward, no").
    "No, go left" is none.
    """
    heard = _heard(text, stop_words)
    words = [word.text for word in heard]
    noes = [word in _NOES for word in words]
    meant = [word for word in words if word not in _BESIDE_NO]
    if meant and (meant[-1] in _NOES or _ALONE.issuperset(meant)):
        return True
    if any(first and second for first, second in pairwise(noes)):
        return True
    stops = {place for phrase in stop_words for place in _places(words, split_words(phrase))}
    return any(
        _is_told(heard, place) and place + len(forbidding) not in stops
        for forbidding in (*_FORBIDDING, ("not",))
        for place in _places(words, forbidding)
        if forbidding not in _ONLY_FIRST or _is_first(heard, place)
    )


def starts_with_no(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text that is no command says no: "no, that is not it", not "no, go left"."""
    words = (word.text for word in _heard(text, stop_words) if word.text not in _BESIDE_NO)
    return next(words, "") in _NOES


def may_retract(
    transcript: Transcript, plan: ActionPlan, stop_words: Collection[str] = STOP_WORDS
) -> bool:
    """Tell whether a text may be meant of a plan that was said just before, or behind it.

    It has a negation or condition that a pause has cut off from the plan ("go forward … only if I
    say so"), began no later than 1.5 s behind it, and is not about a word for stop.
    """
    begun_ns = transcript.start_ns or transcript.stamp_ns
    if not 0 < begun_ns <= plan.stamp_ns + _HOLD_NS or not has_negation_or_condition(
        transcript.text
    ):
        return False
    words = split_words(transcript.text)
    return not any(_places(words, split_words(phrase)) for phrase in stop_words)


def closes_question(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text is anything but a yes to a question: a stop, a negation, a condition."""
    return (
        bool(find_stop_word(text, stop_words, in_turn=False))
        or has_negation_or_condition(text)
        or is_rejection(text, stop_words)
        or not _NOES.isdisjoint(split_words(text))
    )


def has_negation_or_condition(text: str) -> bool:
    """Tell whether a text has a negation or a condition, and no command in it is to be trusted.

    Said before a pause, as in ``don't … go forward``, it is about what comes behind.
    """
    return any(
        word in NEGATIONS_AND_CONDITIONS - _ANSWERS or _NEGATED.fullmatch(word) is not None
        for word in split_words(text)
    )


class _CutOff(NamedTuple):
    """A negation or condition before a pause: its text, its start, and until when it holds.

    The last time is one of the steady clock.
    """

    text: str
    start_ns: int
    until_ns: int
    steady_until_ns: int


class NegationGuard:
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

    def observe(self, transcript: Transcript, now_ns: int) -> str:
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
        if counts and has_negation_or_condition(transcript.text):
            text = transcript.text[:_QUOTED]
            self._cut_off = self._holding(text, transcript.start_ns, now_ns)
        elif is_held and transcript.is_final:
            self._cut_off = self._holding(self._cut_off.text, transcript.start_ns, now_ns)
        return problem

    def hold(self, what: str, now_ns: int) -> None:
        """Hold back what begins now and so soon behind: that may have been a negation."""
        self._cut_off = self._holding(what, 0, now_ns)

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


class _Word(NamedTuple):
    """A word, and whether it is the first behind punctuation."""

    text: str
    begins: bool


def _heard(text: str, stop_words: Collection[str] = STOP_WORDS) -> list[_Word]:
    """Return the words of a text, those that are drawn out or said in one go as they are known."""
    known = _known(frozenset(stop_words))
    return [
        _Word(word, begins=not number)
        for clause in split_clauses(text)
        for number, word in enumerate(each for said in clause for each in _folded(said, known))
    ]


@lru_cache(maxsize=8)
def _known(stop_words: frozenset[str]) -> dict[str, str]:
    """Return the words for stop and no by what is left of them without repeated letters."""
    words = {word for phrase in stop_words for word in split_words(phrase)} | _NOES
    return {_REPEATED.sub(r"\1", word): word for word in words | {"dont", "not", "never"}}


def _folded(word: str, known: Mapping[str, str]) -> Sequence[str]:
    """Return the known words that a longer one is: ``stooop`` is stop, ``nono`` is no twice."""
    if not _REPEATED.search(word) and len(word) < _SHORTEST_TWICE:
        return (word,)
    folded = _REPEATED.sub(r"\1", word)
    for once, meant in known.items():
        times = len(folded) // len(once)
        if len(word) > len(meant) and folded == once * times:
            return (meant,) * min(times, _SPELLED)
    return (word,)


def _spelled(heard: Sequence[_Word]) -> list[_Word]:
    """Return the words, letters that are spelled (``S.T.O.P.``) as one."""
    found: list[_Word] = []
    for is_letter, run in groupby(heard, key=lambda word: len(word.text) == 1):
        these = list(run)
        if is_letter and len(these) >= _SPELLED:
            these = [_Word("".join(word.text for word in these), these[0].begins)]
        found += these
    return found


def _places(texts: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return where words stand in a text, one behind the other."""
    return [
        place
        for place, text in enumerate(texts)
        if text == words[0] and tuple(texts[place : place + len(words)]) == tuple(words)
    ]


def _is_meant_otherwise(heard: Sequence[_Word], place: int, end: int, in_turn: bool) -> bool:
    """Tell whether a word for stop is no stop: forbidden, the last of several commands, a sign."""
    if place == 0:
        return False
    if end < len(heard) and not heard[end].begins and _is_told_of(heard, place, heard[end].text):
        return True
    if in_turn and place > 1 and heard[place - 1].text in _JOINERS:
        return True
    # Punctuation ends what the negation is about: "Don't! Stop!"
    before = [word.text for word in heard[max(0, place - 2) : place]]
    return not heard[place].begins and any(
        before[-len(forbidding) :] == list(forbidding) for forbidding in _FORBIDDING
    )


def _is_told_of(heard: Sequence[_Word], place: int, behind: str) -> bool:
    """Tell whether a word for stop in the middle of a sentence is about somebody or something."""
    first = place
    while first and place - first < _NEAR and not heard[first].begins:
        first -= 1
    before = [word.text for word in heard[first:place]]
    is_thing = behind in _BEING and not _ARTICLES.isdisjoint(before[-2:])
    return behind in _SIGNS or is_thing or not _OTHERS.isdisjoint(before)


def _is_told(heard: Sequence[_Word], place: int) -> bool:
    """Tell whether a negation is said to somebody, and not of somebody."""
    return place == 0 or heard[place].begins or heard[place - 1].text not in _TELLING


def _is_first(heard: Sequence[_Word], place: int) -> bool:
    """Tell whether nothing but a no and its like stands before a word in its clause."""
    while place and not heard[place].begins and heard[place - 1].text in _NOES | _BESIDE_NO:
        place -= 1
    return place == 0 or heard[place].begins

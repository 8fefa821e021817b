"""Stop phrases, rejections and negations in final and partial texts."""

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
# Words that negate the next word.
_NEGATIONS = frozenset({"dont", "not", "never", "without", "cannot", "cant", "non"})
# Contractions are recognised by their ending: mustnt, wouldnt, isnt, and "do n't".
_NEGATED = re.compile(
    r"(?:is|are|was|were|has|have|had|do|does|did|wo|would|sha|should|could|must"
    r"|need|might|ai|may)?nt"
)
#: Words that change the meaning of a command, although they are few of its letters.
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
# "No, go left" is a command.
_ANSWER_WORDS = frozenset({"no", "non"})
#: A negation applies to speech that begins within this time after it.
_GUARD_NS = 1_500_000_000
_MAX_QUOTED = 60
_MAX_REMEMBERED = 16
_TRUNCATED_TEXT = "something that a gap in the sound cut off"
_STILL_ACTIONS = frozenset({"stop", "look", "say"})
# "Go on and stop": the robot stops at the end.
_JOINERS = frozenset({"and", "then"})
# Objects with "stop" in their name.
_SIGNS = frozenset({"sign", "signs"})
# Statements about others: "he has to stop at the shop", "the bus stop is over there".
_OTHERS = frozenset({"he", "she", "they", "people"})
_ARTICLES = frozenset({"the", "a", "this", "that"})
_BEING = frozenset({"is", "was", "has"})
_MAX_DISTANCE = 6
# Prohibitions. "It cannot stop" or "why won't you stop" is no reason to continue.
_PROHIBITIONS = (
    *(("dont",), ("do", "not"), ("never",), ("mustnt",), ("must", "not")),
    *(("shouldnt",), ("should", "not")),
)
# "I don't know" is a statement and no prohibition; "I heard don't" is the robot's own request to
# repeat a command.
_STATEMENT_SUBJECTS = frozenset({"i", "we", "they", "who", "people", "heard"})
# Later in a clause these are part of a statement: "it has never been there", "it is not far".
_CLAUSE_START_ONLY = (("never",), ("not",))
_NOES = frozenset({"no", "nope", "nah", "nevermind"})
# Rejections only without other words: "enough", "please stay", not "I stay at home".
_REJECTIONS_ALONE = frozenset({"enough", "stay", "wrong", "negative", "incorrect", "cease"})
# Filler words around a no: "oh no please", "no way", "no thank you".
_FILLERS = frozenset(
    {
        *("oh", "hey", "okay", "ok", "please", "robot", "now", "again", "way", "thanks", "thank"),
        *("you", "that", "this", "it", "there", "god", "come", "on", "just", "so", "but", "well"),
        *("um", "umm", "uh", "uhm", "er", "erm", "hm", "hmm", "mm", "ah", "actually", "really"),
        *("absolutely", "definitely", "certainly", "sorry", "listen", "alright", "yeah", "yes"),
        *("sir", "madam", "maam", "man", "mate", "buddy", "dude", "thats"),
    }
)
_MIN_SPELLED_LETTERS = 3
_REPEATED = re.compile(r"(.)\1+")
_MIN_REPEATED_LENGTH = 4


@dataclass(frozen=True)
class StopSettings:
    """The stop phrases; all nodes that listen for a stop have the same setting."""

    stop_words: tuple[str, ...] = setting(
        tuple(sorted(STOP_WORDS)),
        "words and phrases that stop the robot anywhere in a text",
    )

    def check(self) -> str | None:
        """Return what is wrong with the stop words, or None."""
        if not self.stop_words:
            return (
                "stop_words: expected at least one word, got none; the robot could not be stopped"
            )
        for word in self.stop_words:
            if not split_words(word) or word != word.lower():
                return f"stop_words: expected lower-case words, got {word!r}"
        return None


def is_stop(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text, final or partial, is a stop: see :func:`find_stop_word`."""
    return bool(find_stop_word(text, stop_words))


def find_stop_word(
    text: str, stop_words: Collection[str] = STOP_WORDS, *, in_turn: bool = True
) -> str:
    """Return the stop word or phrase of a text; empty without one.

    A false stop is safe, a missed stop is not: the word also counts in "bus stop". It does not
    count directly after *don't*, *do not*, *never*, *must not* or *should not*, nor in a stop sign,
    nor in a statement about others. With ``in_turn`` a stop word after *and* or *then* is the last
    of several commands and does not count yet.
    """
    tokens = _normalized_words(text, stop_words)
    for each in (tokens, _join_spelled(tokens)):
        texts = [word.text for word in each]
        for phrase in stop_words:
            words = split_words(phrase)
            for place in _find_sequence(texts, words):
                if not _is_not_a_stop(each, place, place + len(words), in_turn):
                    return phrase
    return ""


def is_rejection(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text is a rejection: "no", "don't do that", "no no", "not there".

    *Don't* and similar words count anywhere, except in a statement ("I don't know") or about a
    stop word ("don't stop"). A no counts alone, repeated or last ("go forward, no"). "No, go left"
    is not a rejection.
    """
    tokens = _normalized_words(text, stop_words)
    words = [word.text for word in tokens]
    noes = [word in _NOES for word in words]
    meant = [word for word in words if word not in _FILLERS]
    if meant and (meant[-1] in _NOES or _REJECTIONS_ALONE.issuperset(meant)):
        return True
    if any(first and second for first, second in pairwise(noes)):
        return True
    stops = {place for phrase in stop_words for place in _find_sequence(words, split_words(phrase))}
    return any(
        _is_addressed(tokens, place) and place + len(forbidding) not in stops
        for forbidding in (*_PROHIBITIONS, ("not",))
        for place in _find_sequence(words, forbidding)
        if forbidding not in _CLAUSE_START_ONLY or _is_at_clause_start(tokens, place)
    )


def starts_with_no(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text that is no command begins with no: "no, that is not it"."""
    words = (word.text for word in _normalized_words(text, stop_words) if word.text not in _FILLERS)
    return next(words, "") in _NOES


def may_retract(
    transcript: Transcript, plan: ActionPlan, stop_words: Collection[str] = STOP_WORDS
) -> bool:
    """Tell whether a text may retract a plan that was spoken just before or after it.

    It contains a negation or condition that a pause has separated from the plan ("go forward … only
    if I say so"), began at most 1.5 s after the plan, and contains no stop word.
    """
    begun_ns = transcript.start_ns or transcript.stamp_ns
    if not 0 < begun_ns <= plan.stamp_ns + _GUARD_NS or not has_negation_or_condition(
        transcript.text
    ):
        return False
    words = split_words(transcript.text)
    return not any(_find_sequence(words, split_words(phrase)) for phrase in stop_words)


def closes_question(text: str, stop_words: Collection[str] = STOP_WORDS) -> bool:
    """Tell whether a text closes a question without a yes: a stop, a negation, a condition."""
    return (
        bool(find_stop_word(text, stop_words, in_turn=False))
        or has_negation_or_condition(text)
        or is_rejection(text, stop_words)
        or not _NOES.isdisjoint(split_words(text))
    )


def has_negation_or_condition(text: str) -> bool:
    """Tell whether a text has a negation or a condition: no command in it is safe to execute.

    Before a pause, as in ``don't … go forward``, it applies to the speech after the pause.
    """
    return any(
        word in NEGATIONS_AND_CONDITIONS - _ANSWER_WORDS or _NEGATED.fullmatch(word) is not None
        for word in split_words(text)
    )


class _CutOff(NamedTuple):
    """A negation or condition before a pause: its text, its start, and until when it applies.

    ``steady_until_ns`` is a time of the steady clock.
    """

    text: str
    start_ns: int
    until_ns: int
    steady_until_ns: int


class NegationGuard:
    """Blocks plans that move if they were spoken just after a negation or condition.

    It blocks speech that begins within 1.5 s after a negation, however long that speech lasts, and
    speech that follows it just as soon. If the start of speech is unknown, the time of its first
    transcript counts. Speech that a gap in the audio has truncated may have been a negation.
    """

    def __init__(self, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._steady_ns = steady_ns
        # Replaced as a whole: transcripts and plans arrive in different threads.
        self._cut_off = _CutOff("", 0, 0, 0)
        self._blocked_ns: deque[int] = deque(maxlen=_MAX_REMEMBERED)
        self._is_affected_partial = False
        #: The utterance in progress; its start is 0 if there is none.
        self._open = self._cut_off

    def observe(self, transcript: Transcript, now_ns: int) -> str:
        """Record a transcript, final or partial; return why it is blocked, empty if it is not.

        ``now_ns`` is the time of the last sample with speech, or any later time.
        """
        self._record_utterance(transcript, now_ns)
        is_blocked = self._is_affected(transcript, now_ns)
        self._is_affected_partial = is_blocked and not transcript.is_final
        if is_blocked:
            self._blocked_ns.append(transcript.stamp_ns)
        problem = self._problem() if is_blocked else ""
        # A partial text counts only with a start time, which identifies its utterance.
        counts = transcript.is_final or transcript.start_ns
        if counts and has_negation_or_condition(transcript.text):
            text = transcript.text[:_MAX_QUOTED]
            self._cut_off = self._make_cut_off(text, transcript.start_ns, now_ns)
        elif is_blocked and transcript.is_final:
            self._cut_off = self._make_cut_off(self._cut_off.text, transcript.start_ns, now_ns)
        return problem

    def block(self, what: str, now_ns: int) -> None:
        """Block speech that begins now or soon, because ``what`` may have been a negation."""
        self._cut_off = self._make_cut_off(what, 0, now_ns)

    def problem(self, plan: ActionPlan, now_ns: int) -> str:
        """Return why a plan must not be executed; empty if it may be."""
        if not any(step.action not in _STILL_ACTIONS for step in plan.steps):
            return ""
        if plan.stamp_ns in self._blocked_ns:
            return self._problem()
        cut_off = self._cut_off
        is_set_back = cut_off.until_ns - now_ns > _GUARD_NS  # the clock was set back
        # The clock of a simulation may be faster than real time, in which the user speaks.
        is_over = plan.stamp_ns > cut_off.until_ns or is_set_back
        if not cut_off.text or (is_over and self._steady_ns() > cut_off.steady_until_ns):
            return ""
        return self._problem()

    def _record_utterance(self, transcript: Transcript, now_ns: int) -> None:
        """Record the start of an utterance, and one that never ended."""
        start_ns = transcript.start_ns
        if not start_ns:
            return
        if 0 < self._open.start_ns < start_ns:
            self._cut_off = self._open
        begun = self._make_cut_off(_TRUNCATED_TEXT, start_ns, now_ns)
        self._open = begun._replace(start_ns=0) if transcript.is_final else begun

    def _make_cut_off(self, text: str, start_ns: int, now_ns: int) -> _CutOff:
        return _CutOff(text, start_ns, now_ns + _GUARD_NS, self._steady_ns() + _GUARD_NS)

    def _is_affected(self, transcript: Transcript, now_ns: int) -> bool:
        cut_off, start_ns = self._cut_off, transcript.start_ns
        is_the_same = start_ns != 0 and start_ns == cut_off.start_ns
        if not cut_off.text or not transcript.text or is_the_same:
            return False
        is_set_back = cut_off.until_ns - now_ns > _GUARD_NS
        is_known = self._is_affected_partial and not start_ns
        return is_known or ((start_ns or now_ns) <= cut_off.until_ns and not is_set_back)

    def _problem(self) -> str:
        return f"I heard {self._cut_off.text!r} just before that; please say all of it again"


class _Word(NamedTuple):
    """A word, and whether it is the first after punctuation."""

    text: str
    begins: bool


def _normalized_words(text: str, stop_words: Collection[str] = STOP_WORDS) -> list[_Word]:
    """Return the words of a text; stretched or merged words become the known words."""
    known = _known_spellings(frozenset(stop_words))
    return [
        _Word(word, begins=not number)
        for clause in split_clauses(text)
        for number, word in enumerate(each for said in clause for each in _unfold(said, known))
    ]


@lru_cache(maxsize=8)
def _known_spellings(stop_words: frozenset[str]) -> dict[str, str]:
    """Return the words for stop and no, by their spelling without repeated letters."""
    words = {word for phrase in stop_words for word in split_words(phrase)} | _NOES
    return {_REPEATED.sub(r"\1", word): word for word in words | {"dont", "not", "never"}}


def _unfold(word: str, known: Mapping[str, str]) -> Sequence[str]:
    """Return the known words in a longer word: ``stooop`` is stop, ``nono`` is no twice."""
    if not _REPEATED.search(word) and len(word) < _MIN_REPEATED_LENGTH:
        return (word,)
    folded = _REPEATED.sub(r"\1", word)
    for once, meant in known.items():
        times = len(folded) // len(once)
        if len(word) > len(meant) and folded == once * times:
            return (meant,) * min(times, _MIN_SPELLED_LETTERS)
    return (word,)


def _join_spelled(tokens: Sequence[_Word]) -> list[_Word]:
    """Return the words; spelled letters (``S.T.O.P.``) become one word."""
    found: list[_Word] = []
    for is_letter, run in groupby(tokens, key=lambda word: len(word.text) == 1):
        these = list(run)
        if is_letter and len(these) >= _MIN_SPELLED_LETTERS:
            these = [_Word("".join(word.text for word in these), these[0].begins)]
        found += these
    return found


def _find_sequence(texts: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return the indices at which a sequence of words occurs in a text."""
    return [
        place
        for place, text in enumerate(texts)
        if text == words[0] and tuple(texts[place : place + len(words)]) == tuple(words)
    ]


def _is_not_a_stop(tokens: Sequence[_Word], place: int, end: int, in_turn: bool) -> bool:
    """Tell whether a stop word is no stop: forbidden, the last of several commands, a sign."""
    if place == 0:
        return False
    if (
        end < len(tokens)
        and not tokens[end].begins
        and _is_statement_about(tokens, place, tokens[end].text)
    ):
        return True
    if in_turn and place > 1 and tokens[place - 1].text in _JOINERS:
        return True
    # Punctuation ends the scope of a negation: "Don't! Stop!"
    before = [word.text for word in tokens[max(0, place - 2) : place]]
    return not tokens[place].begins and any(
        before[-len(forbidding) :] == list(forbidding) for forbidding in _PROHIBITIONS
    )


def _is_statement_about(tokens: Sequence[_Word], place: int, behind: str) -> bool:
    """Tell whether a stop word in a sentence is part of a statement about a person or an object."""
    first = place
    while first and place - first < _MAX_DISTANCE and not tokens[first].begins:
        first -= 1
    before = [word.text for word in tokens[first:place]]
    is_thing = behind in _BEING and not _ARTICLES.isdisjoint(before[-2:])
    return behind in _SIGNS or is_thing or not _OTHERS.isdisjoint(before)


def _is_addressed(tokens: Sequence[_Word], place: int) -> bool:
    """Tell whether a negation is addressed to the robot, and is no statement."""
    return place == 0 or tokens[place].begins or tokens[place - 1].text not in _STATEMENT_SUBJECTS


def _is_at_clause_start(tokens: Sequence[_Word], place: int) -> bool:
    """Tell whether only rejections and filler words precede a word in its clause."""
    while place and not tokens[place].begins and tokens[place - 1].text in _NOES | _FILLERS:
        place -= 1
    return place == 0 or tokens[place].begins

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
from edge_inference.speech.actions.table import may_move
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
# Contractions are recognized by their ending: mustnt, wouldnt, isnt, and "do n't".
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
_TRUNCATED_TEXT = "something that a gap in the audio cut off"
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
    for variant in (tokens, _join_spelled(tokens)):
        texts = [word.text for word in variant]
        for phrase in stop_words:
            words = split_words(phrase)
            for index in _find_sequence(texts, words):
                if not _is_not_a_stop(variant, index, index + len(words), in_turn):
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
    content = [word for word in words if word not in _FILLERS]
    if content and (content[-1] in _NOES or _REJECTIONS_ALONE.issuperset(content)):
        return True
    if any(first and second for first, second in pairwise(noes)):
        return True
    stops = {index for phrase in stop_words for index in _find_sequence(words, split_words(phrase))}
    return any(
        _is_addressed(tokens, index) and index + len(prohibition) not in stops
        for prohibition in (*_PROHIBITIONS, ("not",))
        for index in _find_sequence(words, prohibition)
        if prohibition not in _CLAUSE_START_ONLY or _is_at_clause_start(tokens, index)
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
    start_ns = transcript.start_ns or transcript.stamp_ns
    if not 0 < start_ns <= plan.stamp_ns + _GUARD_NS or not has_negation_or_condition(
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


class _PendingNegation(NamedTuple):
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
        self._negation = _PendingNegation("", 0, 0, 0)
        self._blocked_ns: deque[int] = deque(maxlen=_MAX_REMEMBERED)
        self._is_affected_partial = False
        #: The utterance in progress; its start is 0 if there is none.
        self._current_utterance = self._negation

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
        is_usable = transcript.is_final or transcript.start_ns
        if is_usable and has_negation_or_condition(transcript.text):
            text = transcript.text[:_MAX_QUOTED]
            self._negation = self._make_negation(text, transcript.start_ns, now_ns)
        elif is_blocked and transcript.is_final:
            self._negation = self._make_negation(self._negation.text, transcript.start_ns, now_ns)
        return problem

    def block(self, what: str, now_ns: int) -> None:
        """Block speech that begins now or soon, because ``what`` may have been a negation."""
        self._negation = self._make_negation(what, 0, now_ns)

    def problem(self, plan: ActionPlan, now_ns: int) -> str:
        """Return why a plan must not be executed; empty if it may be."""
        if not any(may_move(step.action) for step in plan.steps):
            return ""
        if plan.stamp_ns in self._blocked_ns:
            return self._problem()
        negation = self._negation
        is_set_back = negation.until_ns - now_ns > _GUARD_NS  # the clock was set back
        # The clock of a simulation may be faster than real time, in which the user speaks.
        is_over = plan.stamp_ns > negation.until_ns or is_set_back
        if not negation.text or (is_over and self._steady_ns() > negation.steady_until_ns):
            return ""
        return self._problem()

    def _record_utterance(self, transcript: Transcript, now_ns: int) -> None:
        """Record the start of an utterance, and one that never ended."""
        start_ns = transcript.start_ns
        if not start_ns:
            return
        if 0 < self._current_utterance.start_ns < start_ns:
            self._negation = self._current_utterance
        current = self._make_negation(_TRUNCATED_TEXT, start_ns, now_ns)
        self._current_utterance = current._replace(start_ns=0) if transcript.is_final else current

    def _make_negation(self, text: str, start_ns: int, now_ns: int) -> _PendingNegation:
        return _PendingNegation(text, start_ns, now_ns + _GUARD_NS, self._steady_ns() + _GUARD_NS)

    def _is_affected(self, transcript: Transcript, now_ns: int) -> bool:
        negation, start_ns = self._negation, transcript.start_ns
        is_the_same = start_ns != 0 and start_ns == negation.start_ns
        if not negation.text or not transcript.text or is_the_same:
            return False
        is_set_back = negation.until_ns - now_ns > _GUARD_NS
        continues_blocked = self._is_affected_partial and not start_ns
        return continues_blocked or ((start_ns or now_ns) <= negation.until_ns and not is_set_back)

    def _problem(self) -> str:
        return f"I heard {self._negation.text!r} just before that; please say all of it again"


class _Word(NamedTuple):
    """A word, and whether it is the first after punctuation."""

    text: str
    starts_clause: bool


def _normalized_words(text: str, stop_words: Collection[str] = STOP_WORDS) -> list[_Word]:
    """Return the words of a text; stretched or merged words become the known words."""
    known = _known_spellings(frozenset(stop_words))
    return [
        _Word(word, starts_clause=not number)
        for clause in split_clauses(text)
        for number, word in enumerate(part for word in clause for part in _unfold(word, known))
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
    for once, content in known.items():
        count = len(folded) // len(once)
        if len(word) > len(content) and folded == once * count:
            return (content,) * min(count, _MIN_SPELLED_LETTERS)
    return (word,)


def _join_spelled(tokens: Sequence[_Word]) -> list[_Word]:
    """Return the words; spelled letters (``S.T.O.P.``) become one word."""
    found: list[_Word] = []
    for is_letter, run in groupby(tokens, key=lambda word: len(word.text) == 1):
        letters = list(run)
        if is_letter and len(letters) >= _MIN_SPELLED_LETTERS:
            letters = [_Word("".join(word.text for word in letters), letters[0].starts_clause)]
        found += letters
    return found


def _find_sequence(texts: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return the indices at which a sequence of words occurs in a text."""
    return [
        index
        for index, text in enumerate(texts)
        if text == words[0] and tuple(texts[index : index + len(words)]) == tuple(words)
    ]


def _is_not_a_stop(tokens: Sequence[_Word], index: int, end: int, in_turn: bool) -> bool:
    """Tell whether a stop word is no stop: forbidden, the last of several commands, a sign."""
    if index == 0:
        return False
    if (
        end < len(tokens)
        and not tokens[end].starts_clause
        and _is_statement_about(tokens, index, tokens[end].text)
    ):
        return True
    if in_turn and index > 1 and tokens[index - 1].text in _JOINERS:
        return True
    # Punctuation ends the scope of a negation: "Don't! Stop!"
    before = [word.text for word in tokens[max(0, index - 2) : index]]
    return not tokens[index].starts_clause and any(
        before[-len(prohibition) :] == list(prohibition) for prohibition in _PROHIBITIONS
    )


def _is_statement_about(tokens: Sequence[_Word], index: int, next_word: str) -> bool:
    """Tell whether a stop word in a sentence is part of a statement about a person or an object."""
    first = index
    while first and index - first < _MAX_DISTANCE and not tokens[first].starts_clause:
        first -= 1
    before = [word.text for word in tokens[first:index]]
    is_thing = next_word in _BEING and not _ARTICLES.isdisjoint(before[-2:])
    return next_word in _SIGNS or is_thing or not _OTHERS.isdisjoint(before)


def _is_addressed(tokens: Sequence[_Word], index: int) -> bool:
    """Tell whether a negation is addressed to the robot, and is no statement."""
    return (
        index == 0
        or tokens[index].starts_clause
        or tokens[index - 1].text not in _STATEMENT_SUBJECTS
    )


def _is_at_clause_start(tokens: Sequence[_Word], index: int) -> bool:
    """Tell whether only rejections and filler words precede a word in its clause."""
    while index and not tokens[index].starts_clause and tokens[index - 1].text in _NOES | _FILLERS:
        index -= 1
    return index == 0 or tokens[index].starts_clause

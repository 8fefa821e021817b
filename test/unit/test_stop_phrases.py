"""Stops and rejections in any wording and spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.stop_phrases import (
    closes_question,
    find_stop_word,
    is_rejection,
    is_stop,
    starts_with_no,
)
from edge_inference.speech.language.text_normalization import split_clauses, split_words


def wide(text: str) -> str:
    """Return a text in the full-width letters of East Asian keyboards."""
    return "".join(chr(ord(each) + 0xFEE0) if "!" <= each <= "~" else each for each in text)


STOPS = [
    *("stop", "Stop!", "STOP", wide("STOP"), wide("stop!"), "S.T.O.P.", "s-t-o-p"),
    *("st\u200bop", "sto\u00adp"),
    *("stop it", "stop now", "please stop", "and stop", "stop stop stop", "stop-stop", "stop,go"),
    *("you must stop at once", "I said stop right this minute", "can you stop that please"),
    *("robot would you stop driving", "freeze", "halt", "Halt!!", "abort", "abort abort", "whoa"),
    *("stand still", "now stand still", "hold it", "hold it right there", "hold on a moment"),
    *("bus stop", "end of sentence full stop", "stop sign", "non-stop", "stop at the kitchen"),
    *("Don't! Stop!", "no, don't, stop", "do not. STOP", "don't go there stop", "No\u2014stop"),
    *("don't stop stop", "don't please stop", "don't you stop", "why won't you stop"),
    *(
        "he must stop",
        "He is there. Stop right now",
        "we have to stop over there",
        "it must stop now",
    ),
    *(
        "the bus, stop is that a child",
        "please stop is that a child",
        "the stop",
        "hit the stop now",
    ),
    *("it can't stop", "it does not stop", "it will not stop", "I cannot wait"),
    *("don't move", "don\u2019t move", "don\u02bct move", "do n't move", "DON T MOVE"),
    *("don't, move",),
    *("now/stop", "stop/stop", "go forward/stop", "go 1 m/s/stop", "don't/stop", "now \u2013stop"),
    *("don't\u2013stop!", "don't--stop", "don't \u2014stop", "don't\u2015stop"),
    *("hang on", "hold up", "stay there", "stay where you are", "forget it", "quit it", "pause"),
    *("that's enough", "that is enough now", "nobody move", "cut it out"),
    *("stoppp", "stooop", "sttttop", "STOPPPP!", "stopstop", "stopstopstop", "nonono"),
    *("waaait", "hoooold on", "freeeeze", "don't moooove"),
]
GOES_ON = [
    *("don't stop", "Don\u2019t stop", "don\u02bct stop", "dont stop"),
    *("do n't stop", "do not stop", 'don " t stop'),
    *("never stop", "you must not stop", "you mustn't stop", "robot please don't stop now"),
    *("the stop sign is red", "find the stop sign", "two stop signs", "unstoppable", "stopped"),
    *("go forward and stop", "turn left, then stop", "go on. And stop", "", "..."),
    *('don"t stop', "don\ufffdt stop", "don&#39;t stop", "don&rsquo;t stop", "don%27t stop"),
    *("don\\'t stop", "don\\u2019t stop", "don\u2013t stop", "don-t stop", "don_t stop"),
    *(
        "don?t stop",
        "mustn?t stop",
        "shouldn\ufffd\ufffd\ufffdt stop",
        "don\u00e2\u20ac\u2122t stop",
    ),
    *("go 2 m/s", "of the shop", "top", "noon", "good", "enough of them are here"),
    *("go to the shop", "the bus stop is around the corner", "that stop was a mistake"),
    *("he has to freeze the leftovers tonight", "they stop at the shop"),
]
NOES = [
    *("don't", "Don\u2019t", "don\u02bct", "don\u02b9t", "DONT", "do n't"),
    *("don 't", wide("DON'T"), "do not"),
    *("don't do that", "no don't", "no no", "No, no!", "no", "nope", "nah", "oh no", "no way"),
    *("no thank you", "never mind", "nevermind", "not now", "not there", "no, not that way"),
    *("please don't", "don't go forward", "what are you doing? don't", "you must not do that"),
    *("what are you doing don't do that", "robot, never do that", "no no go left", "mustn't"),
    *("actually no", "um no", "no sir", "I said no", "go forward, no", "go forward, no, please"),
    *("noo", "nooo", "Nooooo!", "nono", "noooope", "absolutely not", "enough", "Enough!", "stay"),
    *("please stay", "wrong", "negative", 'don"t do that', "don\ufffdt", "don&#39;t", "don_t"),
    *("don\\'t", "don\u2013t", "don-t", "don?t", "don&amp;#39;t", "mustn?t do that"),
    *("go forward no don't", "I said don't", "you should not", "don't you dare"),
]
NO_NOES = [
    *("", "yes", "know", "no, go left", "no problem at all", "I don't know", "we do not think so"),
    *("it is not far", "it has never been there", "don't stop", "do not wait", "knock knock"),
    *("people don't like it", "go forward", "north", "noon", "can?t", "I stay at home"),
    *("close enough to see", "the wrong one is red"),
]


@pytest.mark.parametrize("text", STOPS)
def test_text_is_a_stop(text: str) -> None:
    assert is_stop(text)


@pytest.mark.parametrize("text", GOES_ON)
def test_text_is_no_stop(text: str) -> None:
    assert not is_stop(text)


@pytest.mark.parametrize("text", NOES)
def test_text_is_a_rejection(text: str) -> None:
    assert is_rejection(text)
    assert closes_question(text)


@pytest.mark.parametrize("text", NO_NOES)
def test_text_is_no_rejection(text: str) -> None:
    assert not is_rejection(text)


@pytest.mark.parametrize("text", ["slow down and stop", "go forward and stop", "go on. And stop"])
def test_last_of_several_commands_stops_without_in_turn(text: str) -> None:
    assert (find_stop_word(text), find_stop_word(text, in_turn=False)) == ("", "stop")


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("no that is not it", True),
        ("um, nooo, go left", True),
        ("nope", True),
        ("go left no", False),
        ("I know", False),
        ("", False),
    ],
)
def test_text_starts_with_no(text: str, begins: bool) -> None:
    assert starts_with_no(text) is begins


def test_no_shipped_phrase_is_a_stop_or_rejection_by_accident() -> None:
    grammar = read_grammar(Path(__file__).parents[2] / "config" / "voice" / "grammar.yaml")
    sentences = [*grammar.sentences(), *grammar.sentences(digits=True)]
    assert len(sentences) > 100
    by_chance = [
        each.text
        for each in sentences
        if each.intent not in ("stop", "deny")
        and (is_stop(each.text) or is_rejection(each.text) or starts_with_no(each.text))
    ]
    assert by_chance == []


def test_custom_stop_words_work_and_can_be_negated() -> None:
    basta = ("basta ya",)
    assert find_stop_word("now basta ya please", basta) == "basta ya"
    assert not is_stop("stop", basta)
    assert is_stop("baaasta ya", basta)
    assert not is_stop("hop", ("hoop",))
    assert not is_rejection("don't basta ya", basta)
    assert is_rejection("don't stop", basta)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (wide("Go 10 meters"), ("go", "10", "meters")),
        (wide("-5 m"), ("minus", "5", "m")),
        (wide("2.5 m"), ("2.5", "m")),
        (wide("1,000 m"), ("1000", "m")),
        ("turn 90º", ("turn", "90", "°")),
        ("3㎞", ("3", "km")),
        # No digit changes into another one.
        ("2½ m", ("2", "½", "m")),
        ("10² m", ("10", "²", "m")),
        ("do n't wo n't ca n't", ("dont", "wont", "cant")),
        ("what`s it's won\u2032t", ("whats", "its", "wont")),
        ("turn t", ("turn", "t")),
        ('can"t won\ufffdt isn?t didn&apos;t', ("cant", "wont", "isnt", "didnt")),
        ("1 m/s 2 km/h 3 rad/s", ("1", "m/s", "2", "km/h", "3", "rad/s")),
        ("go 2m/s/now", ("go", "2", "m", "s", "now")),
        ("left/right", ("left", "right")),
        ("cafe\u0301", ("café",)),
        ("\u200b\ufeff", ()),
    ],
)
def test_any_letters_and_apostrophes(text: str, words: tuple[str, ...]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Don't! Go on - stop.", [("dont",), ("go", "on"), ("stop",)]),
        ("go 2.5 m, then 1,000 m", [("go", "2.5", "m"), ("then", "1000", "m")]),
        ("twenty-five", [("twenty", "five")]),
        ("no\u2013go -- on/off 1 m/s", [("no",), ("go",), ("on",), ("off", "1", "m/s")]),
        ("?!", []),
    ],
)
def test_punctuation_separates_clauses(text: str, clauses: list[tuple[str, ...]]) -> None:
    assert split_clauses(text) == clauses


def test_stop_or_rejection_in_a_long_text_is_found() -> None:
    long = "don't stop " * 5000
    assert not is_stop(long)
    assert is_stop(f"{long} please stop")
    assert not is_rejection(long)
    assert is_rejection(f"{long} don't do that")

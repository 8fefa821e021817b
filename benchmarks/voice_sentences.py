"""The sentences and voices of the voice benchmark: two disjoint sets.

Thresholds are set with ``TUNING``; figures are reported on ``REPORTED``. The sets share no voice
and no sentence. Commands are drawn from the shipped grammar with a fixed seed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from edge_inference.speech.language.grammar import GrammarSentence


@dataclass(frozen=True)
class Voice:
    """A voice of a synthesiser."""

    program: str
    name: str

    def __str__(self) -> str:
        return f"{self.program}:{self.name}"


@dataclass(frozen=True)
class SentenceSet:
    """Voices, their sentences that are no commands, and the number of the draw of commands."""

    name: str
    voices: tuple[Voice, ...]
    others: tuple[str, ...]
    draw: int

    def commands(self, sentences: Sequence[GrammarSentence]) -> list[GrammarSentence]:
        """Return this set's commands of a grammar; the sets have no common command."""
        drawn = []
        others = sorted({sentence.intent for sentence in sentences} - _DRAWN.keys())
        for intent, count in {**_DRAWN, **dict.fromkeys(others, 1)}.items():
            of_intent = sorted((s for s in sentences if s.intent == intent), key=lambda s: s.text)
            random.Random(_SEED).shuffle(of_intent)
            drawn += of_intent[self.draw * count : (self.draw + 1) * count]
        return drawn


_SEED = 5
#: Commands of a draw by intent; one of every other intent.
_DRAWN = {
    "stop": 2,
    "move": 16,
    "turn": 9,
    "go_to": 6,
    "pick": 4,
    "place": 5,
    "look": 3,
    "confirm": 2,
    "deny": 1,
}

_TUNING_OTHERS = (
    "what is the weather like today",
    "i would like a cup of coffee",
    "the meeting starts at nine tomorrow",
    "please call my mother",
    "how old are you",
    "tell me a joke",
    "the quick brown fox jumps over the lazy dog",
    "my phone is in the kitchen",
    "we went to the office yesterday",
    "there are ten people in the room",
    "i left the door open",
    "this box is heavy",
    "she turned the page and kept on reading",
    "he stopped smoking last year",
    "that was the right thing to do",
    "nothing is left on the table",
    "i will be back in five minutes",
    "music sounds better with you",
    "it was raining all day",
    "can you hear me",
    "the red car was faster than the blue one",
    "look at that",
    "good morning",
    "thank you very much",
    "hello",
    "okay then",
    "never mind",
    "seven of clubs and the queen of hearts",
    "my number is four eight one nine six",
    "what is your name",
    "do not go forward",
    "did you turn left at the corner",
    "what do you want for dinner",
    "the cup fell off the desk",
    "i put the book back on the shelf",
    "go",
    "forward",
    "two",
    "left",
    "the kitchen",
    "where is my hat",
    "how far is it to the station",
    "the shop closes at half past six",
    "we need more time to think about it",
    "she took the box and went home",
)

_REPORTED_OTHERS = (
    # Conversation.
    "see you tomorrow afternoon",
    "the train was late again this morning",
    "my brother lives in a small town by the sea",
    "could i have the bill please",
    "somebody is knocking next door",
    "we had soup and bread for lunch",
    "they are painting the whole house green",
    "do you like classical music",
    "i have never been to japan",
    "the children are asleep upstairs",
    "that is a very good question",
    "sorry i am late",
    "excuse me",
    "nice to meet you",
    "good night everybody",
    "oh really",
    "of course",
    "just a moment",
    "i do not think so",
    "well that was quick",
    # Questions to and about robots.
    "what did you say",
    "who built this robot",
    "how does the robot know where it is",
    "are you a robot or a person",
    "is the battery of the robot full",
    "can robots feel pain",
    "what can you do for me",
    "why is the robot not moving",
    "how many wheels does it have",
    "when was the robot last repaired",
    # Numbers.
    "three point one four one five nine",
    "forty two",
    "nineteen eighty four",
    "five six seven eight",
    "one hundred and twelve dollars",
    "it costs two euros and fifty cents",
    "ten out of ten",
    "the answer is ninety degrees",
    "two meters is not very long",
    "call me at eight thirty",
    # Sentences with words of commands.
    "do not stop the music",
    "the bus stop is around the corner",
    "we stopped for a cup of tea",
    "he has to freeze the leftovers tonight",
    "please do not turn left here",
    "never go back to that place",
    "the way back was longer than the way forward",
    "he moved to the left bank of the river",
    "i am looking forward to meeting you",
    "she always goes straight home",
    "you should turn the music down",
    "turn the lights off in the kitchen",
    "put on a warm coat",
    "pick a card any card",
    "i can not find the door key",
    "a bottle of wine would be lovely",
    "the ball rolled under the desk",
    "everybody take your seats",
    "drive carefully on the way to work",
    "go and ask your father",
    "do you see what i mean",
    "what do you see in him",
    "is there a charging station for cars nearby",
    "look what the cat brought in",
    "that book is on my desk at home",
    # Single words, and words that sound like a command.
    "right",
    "meters",
    "backward and forward",
    "shop",
    "top",
    "hot",
    "trees",
    "stock prices fell",
    "know it all",
    "get over there",
)

TUNING = SentenceSet(
    "tuning",
    (Voice("flite", "rms"), Voice("flite", "kal16"), Voice("espeak-ng", "en-us")),
    _TUNING_OTHERS,
    draw=0,
)
REPORTED = SentenceSet(
    "reported",
    (
        Voice("flite", "slt"),
        Voice("flite", "awb"),
        Voice("espeak-ng", "en-gb"),
        Voice("espeak-ng", "en-us+f3"),
    ),
    _REPORTED_OTHERS,
    draw=1,
)
SETS = {each.name: each for each in (TUNING, REPORTED)}

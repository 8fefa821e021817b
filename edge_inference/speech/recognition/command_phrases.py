"""Builds command mode from a grammar: one or several of its phrases in a sentence."""

from __future__ import annotations

from collections.abc import Collection

from edge_inference.core.voice import NO, STOP, YES
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.stop_phrases import STOP_WORDS
from edge_inference.speech.recognition.command_mode import CommandMode, CommandModeSettings
from edge_inference.speech.recognition.phrase_graph import PhraseGraph
from edge_inference.speech.recognition.recognizer import Recognizer

#: Before or after a pause these phrases retract a command. A false recognition costs the user one
#: repetition.
RETRACTION_PHRASES = (
    *("don't", "do not", "please don't", "please do not", "never", "not yet"),
    *("unless i tell you", "unless i say so", "if i say so", "only if i say so", "if i tell you"),
)
_RETRACT = "retract"


def make_command_mode(
    grammar: Grammar,
    recognizer: Recognizer,
    settings: CommandModeSettings,
    stop_words: Collection[str] = STOP_WORDS,
) -> CommandMode:
    """Return a command mode that recognizes the phrases of the grammar; stop phrases are eager.

    It recognizes the stop words and the retraction phrases even if the grammar has none.
    """
    # A recognizer may write numbers as words or as digits.
    sentences = [*grammar.sentences(), *grammar.sentences(digits=True)]
    meanings = {
        each.text: (each.intent, frozenset((k, v.value, v.unit) for k, v in each.slots.items()))
        for each in sentences
    }
    for word in stop_words:
        meanings.setdefault(word, (STOP, frozenset()))
    for phrase in RETRACTION_PHRASES:
        meanings.setdefault(phrase, (_RETRACT, frozenset()))
    graph = PhraseGraph(
        meanings,
        recognizer.tokenizer,
        ignored=map(" ".join, grammar.ignored),
        joiners=map(" ".join, grammar.joiners),
    )
    return CommandMode(
        recognizer,
        graph,
        settings,
        # By meaning, not by word: "stop at the kitchen" drives there.
        eager=[each for each, (intent, _) in meanings.items() if intent in (STOP, _RETRACT)],
        answers=[phrase for phrase, (intent, _) in meanings.items() if intent in (YES, NO)],
        meanings=meanings,
        stop_words=stop_words,
    )

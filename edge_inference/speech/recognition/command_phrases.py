"""What command mode listens for: the phrases of a grammar, one or several in a sentence."""

from __future__ import annotations

from collections.abc import Collection

from edge_inference.core.voice import NO, STOP, YES
from edge_inference.speech.language.grammar import Grammar
from edge_inference.speech.language.stop_phrases import STOP_WORDS
from edge_inference.speech.recognition.command_mode import CommandMode, CommandModeSettings
from edge_inference.speech.recognition.phrase_graph import PhraseGraph
from edge_inference.speech.recognition.recogniser import Recogniser

#: Before a pause they take back what comes behind: heard needlessly, they cost a repetition.
RETRACTION_PHRASES = (
    *("don't", "do not", "please don't", "please do not", "never", "not yet"),
    *("unless i tell you", "unless i say so", "if i say so", "only if i say so", "if i tell you"),
)
_TAKE_BACK = "take_back"


def make_command_mode(
    grammar: Grammar,
    recogniser: Recogniser,
    settings: CommandModeSettings,
    stop_words: Collection[str] = STOP_WORDS,
) -> CommandMode:
    """Return a command mode that hears the grammar's phrases; those that stop it hears eagerly.

    The words for stop, and what takes a command back, are heard also where the grammar has none.
    """
    # A recogniser may write numbers either way.
    sentences = [*grammar.sentences(), *grammar.sentences(digits=True)]
    meanings = {
        each.text: (each.intent, frozenset((k, v.value, v.unit) for k, v in each.slots.items()))
        for each in sentences
    }
    for word in stop_words:
        meanings.setdefault(word, (STOP, frozenset()))
    for phrase in RETRACTION_PHRASES:
        meanings.setdefault(phrase, (_TAKE_BACK, frozenset()))
    graph = PhraseGraph(
        meanings,
        recogniser.tokenizer,
        ignored=map(" ".join, grammar.ignored),
        joiners=map(" ".join, grammar.joiners),
    )
    return CommandMode(
        recogniser,
        graph,
        settings,
        # "Stop at the kitchen" drives there.
        eager=[each for each, (intent, _) in meanings.items() if intent in (STOP, _TAKE_BACK)],
        answers=[phrase for phrase, (intent, _) in meanings.items() if intent in (YES, NO)],
        meanings=meanings,
        stop_words=stop_words,
    )

"""What command mode listens for: the phrases of a grammar, one or several in a sentence."""

from __future__ import annotations

from collections.abc import Collection

from edge_inference.speech.command_mode import CommandMode, CommandSettings
from edge_inference.speech.grammar import Grammar
from edge_inference.speech.phrase_graph import PhraseGraph
from edge_inference.speech.planner import NO, YES
from edge_inference.speech.recogniser import Recogniser
from edge_inference.speech.stop_word import STOP_WORDS, is_stop


def listen_for(
    grammar: Grammar,
    recogniser: Recogniser,
    settings: CommandSettings,
    stop_words: Collection[str] = STOP_WORDS,
) -> CommandMode:
    """Return a command mode that hears the grammar's phrases; those that stop it hears eagerly."""
    # A recogniser may write numbers either way.
    sentences = [*grammar.sentences(), *grammar.sentences(digits=True)]
    meanings = {
        each.text: (each.intent, frozenset((k, v.value, v.unit) for k, v in each.slots.items()))
        for each in sentences
    }
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
        eager=[phrase for phrase in meanings if is_stop(phrase, stop_words)],
        answers=[phrase for phrase, (intent, _) in meanings.items() if intent in (YES, NO)],
        meanings=meanings,
    )

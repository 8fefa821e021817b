"""The sentences of a grammar as a graph of tokens: one phrase, or several with joiners between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from edge_inference.errors import ConfigError
from edge_inference.speech.recognition.tokenizer import Tokenizer

#: Most commands in one sentence, and most ignored expressions around them.
MAX_COMMANDS = 4
MAX_IGNORED = 2

_ENDINGS = (".", "!", "?")


class PhraseNode:
    """A node between two tokens.

    ``phrase`` is the phrase that ends here. After words outside a phrase, ``next_node`` is where
    the sentence may continue, and ``may_end`` tells whether it may end here. ``is_ignored``: those
    words have no meaning.
    """

    __slots__ = ("children", "is_ignored", "may_end", "next_node", "phrase")

    def __init__(self) -> None:
        self.children: dict[int, PhraseNode] = {}
        self.phrase: str | None = None
        self.next_node: PhraseNode | None = None
        self.may_end = False
        self.is_ignored = False

    def add(self, tokens: Iterable[int]) -> PhraseNode:
        """Return the node after these tokens; create it if necessary."""
        node = self
        for token in tokens:
            node = node.children.setdefault(token, PhraseNode())
        return node


class GraphPosition(NamedTuple):
    """A position in a sentence: the node, the phrases before it, the number of ignored words.

    ``is_pause``: a comma follows the last word.
    """

    node: PhraseNode
    phrases: tuple[str, ...] = ()
    ignored: int = 0
    is_pause: bool = False


class PhraseGraph:
    """Sentences of one or more phrases, in the spelling of a recognizer.

    ``ignored`` words may surround a phrase; ``joiners`` separate two phrases. A sentence begins
    with a capital, may end with a punctuation mark and may contain commas. Of two phrases with the
    same spelling the first counts. Raises ConfigError without a phrase, or for an empty one.
    """

    def __init__(
        self,
        phrases: Iterable[str],
        tokenizer: Tokenizer,
        ignored: Iterable[str] = (),
        joiners: Iterable[str] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._first, self._next, self._after_phrase = self._roots = (
            PhraseNode(),
            PhraseNode(),
            PhraseNode(),
        )
        self._comma = self._mark(",")[0]
        for phrase in phrases:
            if not phrase.strip():
                raise ConfigError("the grammar has an empty phrase; remove it or give it words")
            for root, text in ((self._first, _capital(phrase)), (self._next, phrase)):
                node = root.add(tokenizer.ids(text))
                node.phrase = node.phrase or phrase
        if not self._first.children:
            raise ConfigError("the grammar has no phrases; command mode needs at least one")
        for ending in _ENDINGS:
            self._after_phrase.add(self._mark(ending)).may_end = True
        for words in ignored:
            self._ignore(words)
        self._joiners = tuple(joiners)
        for words in self._joiners:
            self._join(words)

    @property
    def start(self) -> GraphPosition:
        """The position at the start of a sentence."""
        return GraphPosition(self._first)

    def transitions(self, position: GraphPosition) -> Iterator[tuple[int, GraphPosition]]:
        """Yield each token that may follow, with its position; a token may have two positions."""
        node, phrases, ignored, is_pause = position
        for token, child in node.children.items():
            yield token, GraphPosition(child, phrases, ignored)
        if is_pause:
            return
        if node.children and node not in self._roots:
            yield self._comma, position._replace(is_pause=True)
        if completed := _append_phrase(node, phrases):
            yield from self.transitions(GraphPosition(self._after_phrase, completed, ignored))
        if node.next_node is None:
            return
        if node.is_ignored and ignored < MAX_IGNORED:
            yield from self.transitions(GraphPosition(node.next_node, phrases, ignored + 1))
        elif not node.is_ignored and len(phrases) < MAX_COMMANDS:
            yield from self.transitions(GraphPosition(node.next_node, phrases, ignored))

    def completed_phrases(self, position: GraphPosition) -> tuple[str, ...]:
        """Return the phrases of a sentence that ends here; none if it cannot end here."""
        node, phrases, _, is_pause = position
        if is_pause:
            return ()
        return _append_phrase(node, phrases) or (phrases if node.may_end else ())

    def text(self, phrases: Sequence[str]) -> str:
        """Return the phrases of a sentence as one text."""
        return f" {self._joiners[0]} ".join(phrases) if len(phrases) > 1 else "".join(phrases)

    def _ignore(self, words: str) -> None:
        ids = self._tokenizer.ids
        comma, stop = self._mark(","), self._mark(".")
        for root, text in ((self._first, _capital(words)), (self._next, words)):
            node = root.add(ids(text))
            for mark, next_node in (((), self._next), (comma, self._next), (stop, self._first)):
                end = node.add(mark)
                end.next_node, end.is_ignored = next_node, True
        for lead in ((), comma):
            node = self._after_phrase.add((*lead, *ids(words)))
            node.next_node, node.may_end, node.is_ignored = self._after_phrase, True, True

    def _join(self, words: str) -> None:
        ids = self._tokenizer.ids
        for lead, text in ((), words), (self._mark(","), words), (self._mark("."), _capital(words)):
            self._after_phrase.add((*lead, *ids(text))).next_node = self._next

    def _mark(self, mark: str) -> tuple[int, ...]:
        """Return the tokens of a punctuation mark after a word; no merge crosses their boundary."""
        word = self._tokenizer.ids("a")
        return self._tokenizer.ids(f"a{mark}")[len(word) :]


def _append_phrase(node: PhraseNode, phrases: tuple[str, ...]) -> tuple[str, ...]:
    """Return the phrases with the one that ends here; none if it repeats the last one.

    People do not repeat a command, but babble looks like a repetition.
    """
    return () if node.phrase is None or phrases[-1:] == (node.phrase,) else (*phrases, node.phrase)


def _capital(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:]

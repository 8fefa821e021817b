"""The phrases of a grammar as a tree of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from edge_inference.errors import ConfigError
from edge_inference.speech.tokenizer import Tokenizer

#: How a recogniser may end a command in writing.
ENDINGS = ("", ".", "!", "?")


@dataclass
class TrieNode:
    """A place between two tokens; ``phrase`` is what ends here, None where none does."""

    children: dict[int, TrieNode] = field(default_factory=dict)
    phrase: str | None = None


def written(phrase: str) -> tuple[str, ...]:
    """Return how a recogniser may write a spoken phrase: as a sentence."""
    text = " ".join(phrase.split())
    return tuple(text[:1].upper() + text[1:] + ending for ending in ENDINGS)


def build_trie(
    phrases: Iterable[str],
    tokenizer: Tokenizer,
    spellings: Callable[[str], Iterable[str]] = written,
) -> TrieNode:
    """Make the tree of all phrases in all their spellings.

    Where two phrases are written the same, the first keeps the place. Raises ConfigError where
    there is no phrase, or an empty one.
    """
    root = TrieNode()
    for phrase in phrases:
        if not phrase.strip():
            raise ConfigError("the grammar has an empty phrase; remove it or give it words")
        for spelling in spellings(phrase):
            node = root
            for token in tokenizer.ids(spelling):
                node = node.children.setdefault(token, TrieNode())
            if node.phrase is None:
                node.phrase = phrase
    if not root.children:
        raise ConfigError("the grammar has no phrases; command mode needs at least one")
    return root

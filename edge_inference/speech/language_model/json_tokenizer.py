"""Text to tokens and back, by a ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from edge_inference.core.bounded_file import read_text
from edge_inference.errors import ModelError

_MARK = "\N{REPLACEMENT CHARACTER}"
#: Most bytes of a ``tokenizer.json``; those of a quarter of a million tokens have 35 MB.
MAX_TOKENIZER_BYTES = 64 << 20


class JsonTokenizer(Protocol):
    """What a model reads text with."""

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """Return the tokens of a text; of a ``whole`` one with the marks around it."""

    def number(self, token: str) -> int | None:
        """Return the number of a token by its name; None where there is none."""

    def texts(self) -> list[str | None]:
        """Return the text of every token by its number; None for one that has none of its own."""


class TokenizerFile:
    """A ``tokenizer.json``, read by the package tokenizers.

    Each method raises ModelError where the tokenizer fails on what it is given.
    """

    def __init__(self, tokenizer: Any, origin: str = "tokenizer") -> None:
        self._tokenizer = tokenizer
        self._origin = origin

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """Return the tokens of a text; of a ``whole`` one with the marks around it."""
        with _failures(f"{self._origin}: cannot encode {text!r:.80}"):
            return list(self._tokenizer.encode(text, add_special_tokens=whole).ids)

    def number(self, token: str) -> int | None:
        """Return the number of a token by its name; None where there is none."""
        with _failures(f"{self._origin}: cannot look for {token!r:.80}"):
            found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def texts(self) -> list[str | None]:
        """Return the text of every token by its number; None for one that has none of its own.

        Marks have none, and neither has a part of a character.
        """
        with _failures(f"{self._origin}: cannot decode its tokens"):
            return self._texts()

    def _texts(self) -> list[str | None]:
        special = set(self._tokenizer.get_added_tokens_decoder())
        count = self._tokenizer.get_vocab_size(with_added_tokens=True)
        # Alone, a token of some tokenizers loses the blank in front of it.
        anchor = next(iter(self.encode("a")), None)
        before = [] if anchor is None else [anchor]
        start = len(self._tokenizer.decode(before))
        every: Sequence[str] = self._tokenizer.decode_batch([[*before, n] for n in range(count)])
        return [
            None if number in special or _MARK in text else text[start:]
            for number, text in enumerate(every)
        ]


def load_json_tokenizer(file: Path) -> TokenizerFile:
    """Read a ``tokenizer.json``. Raises ModelError where it or the package cannot be had."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ModelError(
            "the Python package tokenizers is not installed; "
            "install it with: pip install tokenizers"
        ) from error
    try:
        text = read_text(file, MAX_TOKENIZER_BYTES)
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from error
    with _failures(f"{file}: cannot be read as a tokenizer.json"):
        tokenizer = Tokenizer.from_str(text)
        # A limit or padding of its training is none of ours.
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return TokenizerFile(tokenizer, str(file))


@contextmanager
def _failures(what: str) -> Iterator[None]:
    """Raise ModelError for whatever fails within, with the reason on one line."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, ModelError):
        raise
    except BaseException as error:  # a panic of the package is no Exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{what}: {reason:.300}") from error

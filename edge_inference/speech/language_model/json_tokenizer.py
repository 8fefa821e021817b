"""Tokenization by a ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from edge_inference.core.bounded_file import read_text
from edge_inference.errors import ModelError

_MARK = "\N{REPLACEMENT CHARACTER}"
#: Largest accepted ``tokenizer.json``; one with a quarter of a million tokens has 35 MB.
MAX_TOKENIZER_BYTES = 64 << 20


class JsonTokenizer(Protocol):
    """The interface of a tokenizer."""

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Return the token ids of a text, optionally with the special tokens around it."""

    def token_id(self, token: str) -> int | None:
        """Return the id of a token by its name; None if there is no such token."""

    def token_texts(self) -> list[str | None]:
        """Return the text of every token by its id; None for a token without text."""


class TokenizerFile:
    """A ``tokenizer.json``, read by the package tokenizers.

    Each method raises ModelError if the package fails on its input.
    """

    def __init__(self, tokenizer: Any, origin: str = "tokenizer") -> None:
        self._tokenizer = tokenizer
        self._origin = origin

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Return the token ids of a text, optionally with the special tokens around it."""
        with _model_errors(f"{self._origin}: cannot encode {text!r:.80}"):
            return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def token_id(self, token: str) -> int | None:
        """Return the id of a token by its name; None if there is no such token."""
        with _model_errors(f"{self._origin}: cannot look for {token!r:.80}"):
            found = self._tokenizer.token_to_id(token)
        return None if found is None else int(found)

    def token_texts(self) -> list[str | None]:
        """Return the text of every token by its id; None for a token without text.

        Special tokens and parts of a character have no text.
        """
        with _model_errors(f"{self._origin}: cannot decode its tokens"):
            return self._token_texts()

    def _token_texts(self) -> list[str | None]:
        special = set(self._tokenizer.get_added_tokens_decoder())
        count = self._tokenizer.get_vocab_size(with_added_tokens=True)
        # Some tokenizers drop the leading space of a single token, so another token precedes it.
        anchor = next(iter(self.encode("a")), None)
        prefix = [] if anchor is None else [anchor]
        start = len(self._tokenizer.decode(prefix))
        every: Sequence[str] = self._tokenizer.decode_batch([[*prefix, n] for n in range(count)])
        return [
            None if number in special or _MARK in text else text[start:]
            for number, text in enumerate(every)
        ]


def load_json_tokenizer(file: Path) -> TokenizerFile:
    """Read a ``tokenizer.json``.

    Raises ModelError if the file or the package is missing or invalid.
    """
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
    with _model_errors(f"{file}: cannot be read as a tokenizer.json"):
        tokenizer = Tokenizer.from_str(text)
        # The truncation and padding of the training do not apply here.
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return TokenizerFile(tokenizer, str(file))


@contextmanager
def _model_errors(what: str) -> Iterator[None]:
    """Convert every exception to ModelError, with the reason on one line."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, ModelError):
        raise
    except BaseException as error:  # a panic of the package is not an Exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{what}: {reason:.300}") from error

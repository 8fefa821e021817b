"""The tokenizer of a speech model (byte-pair encoding), read from Moonshine's ``tokenizer.bin``.

The file is a sequence of entries, each a length and that many bytes. A length below 128 has one
byte, else two: the low seven bits (with the high bit set), then the rest. The id of an entry is its
index. The first three entries are the tokens unknown, start and end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from edge_inference.core.bounded_file import read_bytes
from edge_inference.errors import ModelError

UNKNOWN, START, END = range(3)
_BYTES = range(3, 3 + 256)
_SPACE = "▁".encode()
_MARK = (b"<<", b">>")
_LARGEST_FILE = 16 << 20


class Tokenizer:
    """Converts ids to text and text to ids.

    ``tokens`` are in the order of their ids. Text tokens are in the order in which the byte-pair
    merges were learnt, so a lower id is merged first.
    """

    def __init__(self, tokens: Sequence[bytes]) -> None:
        if len(tokens) <= _BYTES[-1]:
            raise ModelError(
                f"tokenizer: expected three special tokens, 256 bytes and text tokens, got "
                f"{len(tokens)} entries"
            )
        self._tokens = tuple(tokens)
        self._ids: dict[bytes, int] = {}
        self._words: dict[str, tuple[int, ...]] = {}
        for number, token in enumerate(self._tokens):
            if number > _BYTES[-1] and token:
                self._ids.setdefault(token, number)

    def __len__(self) -> int:
        return len(self._tokens)

    def text(self, ids: Iterable[int]) -> str:
        """Return the text of some ids; special tokens such as start and end have no text."""
        return b"".join(self._piece(number) for number in ids).decode("utf-8", "replace").strip()

    def ids(self, text: str) -> tuple[int, ...]:
        """Return the ids of a text: merged byte pairs, and single bytes for the rest."""
        return tuple(number for word in text.split() for number in self._word(word))

    def _word(self, word: str) -> tuple[int, ...]:
        """Return the ids of a word with the space before it; no token crosses a space."""
        if word not in self._words:
            found: list[int] = []
            for piece in self._merged([_SPACE, *(letter.encode() for letter in word)]):
                known = self._ids.get(piece)
                found += [_BYTES[byte] for byte in piece] if known is None else [known]
            self._words[word] = tuple(found)
        return self._words[word]

    def _merged(self, pieces: list[bytes]) -> list[bytes]:
        while len(pieces) > 1:
            rank, index = min(
                (self._ids.get(left + right, len(self._tokens)), index)
                for index, (left, right) in enumerate(pairwise(pieces))
            )
            if rank == len(self._tokens):
                break
            pieces[index : index + 2] = [pieces[index] + pieces[index + 1]]
        return pieces

    def _piece(self, number: int) -> bytes:
        if not 0 <= number < len(self._tokens):
            raise ModelError(
                f"token id: expected less than {len(self._tokens)}, got {number}; "
                "the tokenizer does not belong to the decoder"
            )
        token = self._tokens[number]
        is_mark = token.startswith(_MARK[0]) and token.endswith(_MARK[1])
        return b"" if number <= END or is_mark else token.replace(_SPACE, b" ")


def load_tokenizer(file: Path) -> Tokenizer:
    """Read a ``tokenizer.bin``. Raises ModelError for a missing or truncated file."""
    try:
        data = read_bytes(file, _LARGEST_FILE)
    except OSError as error:
        raise ModelError(f"{file}: the tokenizer cannot be read: {error.strerror}") from error
    tokens = []
    at = 0
    try:
        while at < len(data):
            length, at = data[at], at + 1
            if length >= 128:
                length, at = length - 128 + data[at] * 128, at + 1
            if at + length > len(data):
                raise IndexError
            tokens.append(data[at : at + length])
            at += length
        return Tokenizer(tokens)
    except IndexError:
        raise ModelError(
            f"{file}: the tokenizer ends in the middle of entry {len(tokens)}; "
            "the file is truncated or is not a tokenizer.bin"
        ) from None
    except ModelError as error:
        raise ModelError(f"{file}: {error}") from None

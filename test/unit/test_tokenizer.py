from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_inference.errors import ModelError
from edge_inference.speech.recognition.tokenizer import END, START, Tokenizer, load_tokenizer
from speech_doubles import small_tokenizer


def packed(*tokens: bytes) -> bytes:
    data = b""
    for token in tokens:
        length = len(token)
        head = [length] if length < 128 else [length % 128 + 128, length // 128]
        data += bytes(head) + token
    return data


BASE = [b"<unk>", b"<s>", b"</s>"] + [bytes([n]) for n in range(256)]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "got 0 entries"),
        (packed(*BASE)[:-1], "ends in the middle of entry 258"),
        (packed(*BASE) + b"\x05ab", "ends in the middle of entry 259"),
        (packed(*BASE) + b"\x85", "ends in the middle of entry 259"),
        (packed(*BASE[:-1]), "got 258 entries"),
    ],
)
def test_damaged_file_is_reported(tmp_path: Path, data: bytes, complaint: str) -> None:
    file = tmp_path / "tokenizer.bin"
    file.write_bytes(data)
    with pytest.raises(ModelError, match=complaint) as caught:
        load_tokenizer(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        load_tokenizer(tmp_path / "tokenizer.bin")


def test_file_is_read(tmp_path: Path) -> None:
    long = b"x" * 300
    file = tmp_path / "tokenizer.bin"
    file.write_bytes(packed(*BASE, b"", long, "▁go".encode(), b"<<ST_0>>"))
    tokenizer = load_tokenizer(file)
    assert len(tokenizer) == 259 + 4
    assert tokenizer.text([260]) == "x" * 300
    assert tokenizer.text([START, 261, 259, 262, 261, END]) == "go go"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("  ", []),
        ("a", ["▁a"]),
        ("abc", ["▁abc"]),  # ab, abc and ▁a are merged by rank, not from the left
        ("a  b", ["▁a", "▁b"]),
        ("aé", ["▁a", b"\xc3", b"\xa9"]),
    ],
)
def test_text_is_encoded(text: str, pieces: list[str | bytes]) -> None:
    words = [b"a", b"b", b"c", b"ab", b"abc", "▁".encode(), "▁abc".encode(), "▁a".encode()]
    tokens = [*BASE, *words, "▁b".encode()]
    wanted = [tokens.index(p if isinstance(p, bytes) else p.encode()) for p in pieces]
    assert list(Tokenizer(tokens).ids(text)) == wanted


def test_a_lower_id_is_merged_first() -> None:
    words = ["▁".encode(), b"bc", "▁a".encode(), b"ab"]
    tokens = [*BASE, b"a", b"b", b"c", *words]
    wanted = ["▁a".encode(), b"bc"]
    assert list(Tokenizer(tokens).ids("abc")) == [tokens.index(piece) for piece in wanted]


@pytest.mark.parametrize("number", [-1, 9999])
def test_token_of_another_tokenizer_is_refused(number: int) -> None:
    with pytest.raises(ModelError, match=f"token id: .* got {number};"):
        small_tokenizer().text([number])


@given(st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"])))
def test_text_round_trips(text: str) -> None:
    tokenizer = small_tokenizer()
    assert tokenizer.text(tokenizer.ids(text)) == " ".join(text.split())

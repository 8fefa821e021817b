"""Files that a stranger may leave where one of ours is expected; none of them may cost anything."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

#: Longer than any file that is read here may be, and not a block of the disk.
SPARSE_BYTES = 3 << 30
_DEADLINE_S = 60.0


def _socket(file: Path) -> None:
    os.mknod(file, stat.S_IFSOCK | 0o600)


def _sparse(file: Path) -> None:
    file.touch()
    os.truncate(file, SPARSE_BYTES)


#: What is no file that can be read, by its name.
UNREADABLE_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "device": lambda file: file.symlink_to("/dev/zero"),
    "socket": _socket,
    "folder": Path.mkdir,
    "sparse": _sparse,
    "circle": lambda file: file.symlink_to(file.name),
    "nowhere": lambda file: file.symlink_to("not_there"),
}

#: Texts that cost a reader of YAML more than they are worth, or that it cannot make values of.
YAML_TEXTS = {
    "brackets": "a: " + "[" * 5_000 + "]" * 5_000,
    "brackets over lines": "a: " + "[\n" * 5_000,
    "braces": "a: " + "{" * 10_000,
    "lists": "a:\n " + "- " * 5_000,
    "questions": "a:\n " + "? " * 5_000,
    "steps": "".join(f"{' ' * depth}a:\n" for depth in range(900)),
    "laughs": "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(50)),
    "an anchor in itself": "a: &a [*a]\n",
    "merged": "a: &a {x: 1}\nb: {<<: *a}\n",
    "digits": "a: " + "9" * 200_000,
    "hexadecimal": "a: 0x" + "f" * 200_000,
    "sixties": "a: 1" + ":1" * 100_000,
    "sixties of a point": "a: 1" + ":1" * 3_000 + ".5",
    "a float": "a: 1." + "0" * 200_000,
    "a number as key": "9" * 200_000 + ": 1",
    "a date as key": "2024-13-45: 1",
    "no truth": "a: !!bool perhaps",
    "no moment": "a: !!timestamp soon",
    "no number": 'a: !!int ""',
    "no list": "a: !!seq none",
    "a class": "a: !!python/object/apply:os.system [true]",
    "values": "a: [" + "1," * 30_000 + "]",
    "a long key": "? " + "k" * 100_000 + "\n: 1",
    "a long tag": "a: !" + "t" * 100_000 + " 1",
    "another encoding": b"a: \xff\xfe\n",
    "two bytes a letter": "a: 1\n".encode("utf-16"),
    "a NUL": b"a: \0\n",
}


def write_content(file: Path, text: str | bytes) -> None:
    """Write a file."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)


def call_with_deadline(call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises; fail where it does not come back."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    # A thread that waits for a pipe's writer cannot be ended.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_DEADLINE_S)
    assert not thread.is_alive(), "it waits, or is at it still"
    return raised[0] if raised else None


def assert_one_sentence(error: object, name: str) -> None:
    """Check that a text is one sentence that names the file, and can be read."""
    text = str(error)
    assert name in text, text[:300]
    assert "\n" not in text.strip(), text[:300]
    assert len(text) < 1_500, f"{len(text)} characters: {text[:300]}"

"""Hostile files in place of an expected one; reading one must cost neither time nor memory."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

#: Longer than every limit of the package's readers; the file uses no blocks of the disk.
SPARSE_BYTES = 3 << 30
_DEADLINE_S = 60.0


def _socket(file: Path) -> None:
    os.mknod(file, stat.S_IFSOCK | 0o600)


def _sparse(file: Path) -> None:
    file.touch()
    os.truncate(file, SPARSE_BYTES)


#: Functions that put something unreadable at a path, by name.
UNREADABLE_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "device": lambda file: file.symlink_to("/dev/zero"),
    "socket": _socket,
    "folder": Path.mkdir,
    "sparse": _sparse,
    "circle": lambda file: file.symlink_to(file.name),
    "dangling": lambda file: file.symlink_to("not_there"),
}

#: YAML that is expensive to parse, or whose values cannot be constructed, by name.
YAML_TEXTS = {
    "brackets": "a: " + "[" * 5_000 + "]" * 5_000,
    "brackets on many lines": "a: " + "[\n" * 5_000,
    "braces": "a: " + "{" * 10_000,
    "lists": "a:\n " + "- " * 5_000,
    "complex keys": "a:\n " + "? " * 5_000,
    "indentation": "".join(f"{' ' * depth}a:\n" for depth in range(900)),
    "billion laughs": "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(50)),
    "recursive anchor": "a: &a [*a]\n",
    "merged": "a: &a {x: 1}\nb: {<<: *a}\n",
    "digits": "a: " + "9" * 200_000,
    "hexadecimal": "a: 0x" + "f" * 200_000,
    "sexagesimal": "a: 1" + ":1" * 100_000,
    "sexagesimal float": "a: 1" + ":1" * 3_000 + ".5",
    "a float": "a: 1." + "0" * 200_000,
    "a number as key": "9" * 200_000 + ": 1",
    "a date as key": "2024-13-45: 1",
    "invalid bool": "a: !!bool perhaps",
    "invalid timestamp": "a: !!timestamp soon",
    "invalid int": 'a: !!int ""',
    "invalid sequence": "a: !!seq none",
    "a class": "a: !!python/object/apply:os.system [true]",
    "values": "a: [" + "1," * 30_000 + "]",
    "a long key": "? " + "k" * 100_000 + "\n: 1",
    "a long tag": "a: !" + "t" * 100_000 + " 1",
    "invalid UTF-8": b"a: \xff\xfe\n",
    "UTF-16": "a: 1\n".encode("utf-16"),
    "a NUL": b"a: \0\n",
}


def write_content(file: Path, text: str | bytes) -> None:
    """Write text or bytes to a file."""
    file.write_bytes(text.encode() if isinstance(text, str) else text)


def call_with_deadline(call: Callable[[], object]) -> BaseException | None:
    """Return the exception of a call, or None; fail if the call does not return."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    # A daemon, because a thread that waits for the writer of a pipe cannot be ended.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_DEADLINE_S)
    assert not thread.is_alive(), f"the call has not returned after {_DEADLINE_S:.0f} s"
    return raised[0] if raised else None


def assert_one_sentence(error: object, name: str) -> None:
    """Check that an error is one short sentence that names the file."""
    text = str(error)
    assert name in text, text[:300]
    assert "\n" not in text.strip(), text[:300]
    assert len(text) < 1_500, f"{len(text)} characters: {text[:300]}"

"""The executables end with a sentence where the machine, or the installation, lacks something."""

from __future__ import annotations

import signal

import pytest

from edge_inference.cli import main


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "memory is short"),
        (RuntimeError("can't start new thread"), "memory is short"),
        (ImportError("no libx.so\x1b"), "no libx.so\\x1b"),
    ],
)
def test_what_is_missing_is_a_sentence(
    error: Exception,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **named: object) -> int:
        raise error

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(main, "main", fail)
    try:
        assert main.executable("edge-inference") == 1
    finally:
        signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1

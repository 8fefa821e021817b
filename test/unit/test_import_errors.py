"""A command that cannot import a module says why, in one sentence."""

from __future__ import annotations

import pytest

from edge_inference.cli import exit_status


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (ModuleNotFoundError("No module named 'x'"), "its file is missing: install the package"),
        (ImportError("x.so: failed to map segment"), "more memory"),
    ],
)
def test_a_missing_file_needs_no_memory(
    error: ImportError, hint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def work() -> int:
        raise error

    monkeypatch.setattr(exit_status, "memory_limit_mib", lambda: 512)
    monkeypatch.setattr(exit_status, "memory_hint", lambda: "allow more memory")
    assert exit_status.run_process(work, "edge-inference", "mine") == exit_status.EXIT_FAILED
    text = capsys.readouterr().err
    assert text.startswith("edge-inference: mine: a module cannot be imported: ")
    assert hint in text and ("memory" in text) == (hint == "more memory")

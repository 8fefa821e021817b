"""Python stacks by py-spy, and what is said where they cannot be sampled."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from edge_inference.errors import ConfigError
from edge_inference.observe.profiling.stack_sampler import StackSampler


def put_program(folder: Path, text: str) -> None:
    program = folder / "py-spy"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_without_py_spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"not installed; pip install py-spy"):
        StackSampler(os.getpid(), tmp_path / "a.svg")


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.svg, \.json, \.txt"):
        StackSampler(os.getpid(), tmp_path / "a.png")


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a pipe on which a program in the PATH tells that it is ready."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    os.mkfifo(tmp_path / "ready")
    return tmp_path / "ready"


@pytest.mark.parametrize(
    ("suffix", "form"), [(".svg", "flamegraph"), (".json", "speedscope"), (".txt", "raw")]
)
def test_the_file_is_written_at_the_end(
    tmp_path: Path, ready: Path, suffix: str, form: str
) -> None:
    # As py-spy, it writes its file when it is interrupted.
    wait = "while :; do sleep 0.01; done"
    put_program(tmp_path, f"""trap 'echo "$@" > "$5"; exit 0' INT; echo > {ready}; {wait}""")
    file = tmp_path / f"stacks{suffix}"
    sampler = StackSampler(4711, file)
    ready.read_bytes()
    sampler.finish()
    given = file.read_text()
    assert "--pid 4711" in given
    assert f"--format {form}" in given


def test_a_refusal_of_the_system_is_said(tmp_path: Path, ready: Path) -> None:
    error = "Error: Permission Denied: Try running again with sudo"
    put_program(tmp_path, f"trap '' INT; echo '{error}' >&2; echo > {ready}; exit 1")
    sampler = StackSampler(os.getpid(), tmp_path / "a.svg")
    ready.read_bytes()
    with pytest.raises(ConfigError, match=r"Permission Denied.*SYS_PTRACE"):
        sampler.finish()


def test_a_run_that_ends_before_the_sampler_is_ready(tmp_path: Path, ready: Path) -> None:
    put_program(tmp_path, f"echo > {ready}; exec sleep 600")
    sampler = StackSampler(os.getpid(), tmp_path / "a.svg")
    ready.read_bytes()
    with pytest.raises(ConfigError, match="was not ready when the run ended; measure longer"):
        sampler.finish()


@pytest.mark.skipif(shutil.which("py-spy") is None, reason="py-spy is not installed")
def test_the_real_py_spy_finds_the_function_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "stacks.txt"
    sampler = StackSampler(os.getpid(), file)

    def a_function_with_this_name() -> None:
        import time

        begin_s = time.thread_time()
        while time.thread_time() - begin_s < 1.0:
            sum(range(1000))

    a_function_with_this_name()
    try:
        sampler.finish()
    except ConfigError as error:
        pytest.skip(str(error))  # tracing may be forbidden here
    assert "a_function_with_this_name" in file.read_text()

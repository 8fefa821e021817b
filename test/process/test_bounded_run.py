"""A model with unlimited cost is ended and named in the error, without other effects."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_inference.core.checksum import sha256_of
from hostile_files import assert_one_sentence
from hostile_models import COSTLY_AT_RUN_TIME, DECLARED, write_hostile_model

ROOT = Path(__file__).parents[2]
NANODET = ROOT / "models" / "nanodet"
CONSOLE = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
DEADLINE_S = 240.0
MEMORY = ["--max-memory-mib", "1024"]


def command(*words: str) -> list[str]:
    """Return a command line of ours."""
    return [sys.executable, "-c", CONSOLE, *words]


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a command, with a separate cache and temporary folder."""
    (folder / "tmp").mkdir(exist_ok=True)
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "EDGE_INFERENCE_CACHE": str(folder / "cache"),
        "TMPDIR": str(folder / "tmp"),
    }


def ended(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; nothing of it stays in the temporary folder."""
    done = subprocess.run(
        command(*words),
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert not list((folder / "tmp").iterdir())
    return done


def refusal(folder: Path, *words: str) -> str:
    """Run a command that fails, and return what it says: one line of ours."""
    done = ended(folder, *words)
    assert done.returncode == 1, done
    assert done.stderr.startswith("edge-inference: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("kind", [*DECLARED, "a computed shape"])
def test_a_check_is_limited_in_memory(tmp_path: Path, kind: str) -> None:
    folder = write_hostile_model(tmp_path / "mine", kind)
    text = refusal(tmp_path, "models", "check", str(folder), *MEMORY)
    assert_one_sentence(text, "mine")
    if kind == "external data":
        assert "sparse file" in text
    elif kind != "a long chain":
        assert "at most 1024" in text
        assert "--max-memory-mib" in text


def test_external_weights_count_as_memory(tmp_path: Path) -> None:
    count = 150 << 20  # floats
    folder = write_hostile_model(tmp_path / "mine", "external data")
    network = onnx.load(str(folder / "small.onnx"), load_external_data=False)
    (weights,) = network.graph.initializer
    weights.dims[:] = [count]
    weights.external_data[1].value = str(4 * count)
    (folder / "small.onnx").write_bytes(network.SerializeToString())
    np.ones(count, np.float32).tofile(folder / "weights.bin")
    digests = [sha256_of(folder / name) for name in ("small.onnx", "weights.bin")]
    description = folder / "model.yaml"
    listed = f"sha256: {digests[0]}\n    external_data: {{weights.bin: {digests[1]}}}"
    description.write_text(re.sub("sha256: .*", listed, description.read_text(), count=1))
    text = refusal(tmp_path, "models", "check", str(folder), "--max-memory-mib", "512")
    assert_one_sentence(text, "mine")
    assert "at most 512" in text and "--max-memory-mib" in text


@pytest.mark.parametrize(
    "verb",
    [
        ["compare", "{}"],
        ["engine", "check", "{}", "--backend", "ort"],
        ["bisect", "{}", "--precision", "fp16"],
        ["quantize", "{}", "--precision", "fp16", "--output", "made"],
    ],
    ids=lambda verb: verb[0],
)
def test_so_does_whatever_else_runs_a_model(tmp_path: Path, verb: list[str]) -> None:
    folder = write_hostile_model(tmp_path / "mine", "a computed shape")
    text = refusal_at_the_end(tmp_path, *(word.format(folder) for word in verb), *MEMORY)
    assert "mine" in text and "at most 1024" in text and "--max-memory-mib" in text
    assert not (tmp_path / "made").exists()


def refusal_at_the_end(folder: Path, *words: str) -> str:
    """Run a command that fails, and return the last line that it says."""
    done = ended(folder, *words)
    assert done.returncode == 1, done
    *_, last = done.stderr.splitlines()
    assert last.startswith("edge-inference: "), done.stderr
    return last


@pytest.mark.parametrize("kind", COSTLY_AT_RUN_TIME)
def test_a_check_is_limited_in_time(tmp_path: Path, kind: str) -> None:
    folder = write_hostile_model(tmp_path / "mine", kind)
    bounds = ["--timeout-s", "6"] if kind == "a loop" else MEMORY
    text = refusal(tmp_path, "models", "check", str(folder), *bounds)
    assert_one_sentence(text, "mine")
    assert bounds[0] in text and bounds[1] in text


def test_another_model_is_checked_nevertheless(tmp_path: Path) -> None:
    folder = write_hostile_model(tmp_path / "mine", "a computed shape")
    done = ended(tmp_path, "models", "check", str(folder), str(NANODET), *MEMORY)
    assert done.returncode == 1
    assert "mine" in done.stderr and "nanodet" not in done.stderr
    assert "golden check: passed" in done.stdout


def test_a_model_passes_within_the_least_memory(tmp_path: Path) -> None:
    done = ended(tmp_path, "models", "check", str(NANODET), "--max-memory-mib", "512")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [["models", "check", "{}"], ["quantize", "{}", "--precision", "fp16", "--output", "made"]],
    ids=lambda words: words[0],
)
def test_work_with_a_closed_output_is_not_successful(tmp_path: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command(*(word.format(NANODET) for word in words)),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    "words", [["--max-memory-mib", "511"], ["--timeout-s", "-1"], ["--max-memory-mib", "much"]]
)
def test_a_bound_that_is_none_is_refused(tmp_path: Path, words: list[str]) -> None:
    done = ended(tmp_path, "models", "check", str(NANODET), *words)
    assert done.returncode == 2 and words[0] in done.stderr


@contextmanager
def in_a_loop(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a check that never ends, and give it once its network runs."""
    process = subprocess.Popen(
        command(
            "models",
            "check",
            str(write_hostile_model(folder / "mine", "a loop")),
            "--timeout-s",
            "0",
        ),
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while "runs on" not in process.stdout.readline():
            assert process.poll() is None, process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that are there still."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state(pid: int) -> str:
    """Return the letter of a process's state; a process that is gone counts as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def cpu_s(pid: int) -> float:
    """Return the time that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_there(pid: int) -> bool:
    """Tell whether a process runs."""
    return state(pid) != "Z"


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail where it does not come true."""
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s
        threading.Event().wait(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_a_child_that_handles_none(tmp_path: Path, number: signal.Signals) -> None:
    with in_a_loop(tmp_path) as process:
        (child,) = children(process.pid)
        enough_s = cpu_s(child) + 2.0  # by then it is in its loop, and handles no signal
        wait_for(lambda: cpu_s(child) > enough_s)
        process.send_signal(number)
        _, said = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, said) == (128 + number, "edge-inference: interrupted\n")
        wait_for(lambda: not is_there(child))


def test_a_command_with_a_report_has_time_until_the_second_signal(tmp_path: Path) -> None:
    words = ["bisect", str(write_hostile_model(tmp_path / "mine", "a loop")), "--precision", "fp16"]
    process = subprocess.Popen(
        command(*words), env=environment(tmp_path), stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: children(process.pid))
        (child,) = children(process.pid)
        wait_for(lambda: cpu_s(child) > 10.0)  # it loops
        process.send_signal(signal.SIGTERM)
        later_s = cpu_s(child) + 4.0  # it takes more time than others get
        wait_for(lambda: cpu_s(child) > later_s)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
        wait_for(lambda: not is_there(child))
    finally:
        process.kill()
        process.communicate()


def test_it_can_be_stopped_and_continued(tmp_path: Path) -> None:
    with in_a_loop(tmp_path) as process:
        (child,) = children(process.pid)
        process.send_signal(signal.SIGTSTP)
        wait_for(lambda: state(process.pid) == state(child) == "T")
        process.send_signal(signal.SIGCONT)
        wait_for(lambda: "T" not in (state(process.pid), state(child)))


def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    with in_a_loop(tmp_path) as process:
        (child,) = children(process.pid)
        process.kill()
        process.wait(DEADLINE_S)
        wait_for(lambda: not is_there(child))


@contextmanager
def quantizing(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a quantisation that never ends, and give it with what it has staged."""
    (folder / "made").mkdir(exist_ok=True)
    words = ["--precision", "fp16", "--output", str(folder / "made" / "mine"), "--timeout-s", "0"]
    mine = folder / "mine"
    if not mine.exists():
        write_hostile_model(mine, "a loop")
    process = subprocess.Popen(
        command("quantize", str(mine), *words),
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = {*(folder / "made").iterdir()}
    try:
        wait_for(lambda: process.poll() is not None or {*(folder / "made").iterdir()} - before)
        assert process.poll() is None, process.stderr.read()
        wait_for(lambda: any(staged(folder, before).rglob("small.onnx")))
        yield process, staged(folder, before)
    finally:
        process.kill()
        process.communicate()


def staged(folder: Path, before: set[Path]) -> Path:
    """Return the one folder that has come."""
    (new,) = {*(folder / "made").iterdir()} - before
    return new


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_staged_folder_remains(tmp_path: Path, number: signal.Signals) -> None:
    with quantizing(tmp_path) as (process, _):
        (child,) = children(process.pid)
        os.kill(child, number) if number == signal.SIGKILL else process.send_signal(number)
        process.communicate(timeout=DEADLINE_S)
        assert not list((tmp_path / "made").iterdir())


def test_the_next_run_removes_the_files_of_a_killed_one(tmp_path: Path) -> None:
    other = tmp_path / "made" / ".mine.old"
    other.mkdir(parents=True)
    with quantizing(tmp_path) as (process, left):
        (child,) = children(process.pid)
        process.kill()
        process.wait(DEADLINE_S)
        wait_for(lambda: not is_there(child))
        assert left.exists()
        with quantizing(tmp_path) as (_, first):
            assert not left.exists()
            with quantizing(tmp_path) as (_, second):
                assert first.exists() and second.exists()  # the work has started
    assert other.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_child_is_reported(tmp_path: Path, number: signal.Signals) -> None:
    with in_a_loop(tmp_path) as process:
        (child,) = children(process.pid)
        os.kill(child, number)
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 1
        assert_one_sentence(said, "mine")
        assert number.name in said

"""Signals and kills at any moment of a start, and invalid files."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.campaign_messages import ARGUMENTS, PIPELINE
from benchmarks.sides import isolation

#: A longer time is a hang; the start of Python and its libraries does not count.
HANG_S = 2.0
_START_S = 6.0
_KILL_S = 60.0


class TrialResult(NamedTuple):
    """The result of one trial; ``problem`` is empty if there is none."""

    what: str
    seconds: float
    problem: str


def signals(seed: int, count: int, domain: int) -> Iterator[TrialResult]:
    """Signal the container at a random moment of its start: it ends soon, without a traceback."""
    draw = random.Random(seed)
    for _ in range(count):
        number = draw.choice((signal.SIGINT, signal.SIGTERM))
        after_s = draw.uniform(0.05, _START_S)
        with _container(domain) as process:
            time.sleep(after_s)
            process.send_signal(number)
            started = time.monotonic()
            stderr = _read_stderr(process)
        seconds = time.monotonic() - started
        yield _check_output(f"{number.name} after {after_s:.2f} s", seconds, stderr)


def kills(
    seed: int, count: int, domain: int, has_recovered: Callable[[], None]
) -> Iterator[TrialResult]:
    """Kill the container; the next one works despite what the first has left behind."""
    draw = random.Random(seed)
    for _ in range(count):
        after_s = draw.uniform(0.5, _START_S)
        with _container(domain) as process:
            time.sleep(after_s)
            process.kill()
            process.communicate()
        started = time.monotonic()
        with _container(domain) as process:
            problem = ""
            try:
                has_recovered()
            except RuntimeError as error:
                problem = str(error)
            process.terminate()
            stderr = _read_stderr(process)
        outcome = _check_output(f"SIGKILL after {after_s:.2f} s", 0.0, stderr)
        yield outcome._replace(
            seconds=time.monotonic() - started, problem=problem or outcome.problem
        )


def bad_files(seed: int, count: int) -> Iterator[TrialResult]:
    """Pass invalid files to the commands that read one: each must be refused soon.

    Tries ``count`` random pairs of kind and command, at most all pairs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A missing file is refused at the same point, so it shows the time of the start alone.
        start_s = {
            command: _run(command(folder / f"none {n}"))[0] for n, command in enumerate(_COMMANDS)
        }
        pairs = [(kind, command) for kind in _KINDS for command in _COMMANDS]
        for number, (kind, command) in enumerate(
            random.Random(seed).sample(pairs, min(count, len(pairs)))
        ):
            path = folder / f"{number} {kind}"
            _KINDS[kind](path)
            arguments = command(path)
            seconds, code, stderr = _run(arguments)
            what = f"{' '.join(arguments)} ({kind})"
            outcome = _check_output(what, max(0.0, seconds - start_s[command]), stderr)
            if code == 0 and not outcome.problem:
                outcome = outcome._replace(problem="it was accepted")
            yield outcome


def _check_output(what: str, seconds: float, stderr: str) -> TrialResult:
    if "Traceback" in stderr:
        return TrialResult(what, seconds, f"a traceback: {stderr.strip().splitlines()[-1]}")
    if seconds > HANG_S:
        return TrialResult(what, seconds, f"it took {seconds:.1f} s")
    return TrialResult(what, seconds, "")


def _container(domain: int) -> subprocess.Popen[str]:
    start = "import sys; from edge_inference.cli.main import main; "
    start += "sys.exit(main('component_container', sys.argv[1:]))"
    arguments = ["--pipeline", PIPELINE]
    for name, value in ARGUMENTS.items():
        arguments += ["--argument", f"{name}:={value}"]
    return subprocess.Popen(
        [sys.executable, "-c", start, *arguments],
        env={**os.environ, **isolation(domain), "RCUTILS_LOGGING_SEVERITY_THRESHOLD": "ERROR"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read_stderr(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=_KILL_S)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[1]


def _run(arguments: list[str]) -> tuple[float, int, str]:
    started = time.monotonic()
    start = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
    command = [sys.executable, "-c", start]
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=_KILL_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _KILL_S, 1, ""
    return time.monotonic() - started, done.returncode, done.stderr


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


_ALIASES = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
_KINDS: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "socket": _socket,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "sparse gigabyte": _sparse,
    "nest": lambda path: path.write_text("a: " + "[" * 5_000),
    "long number": lambda path: path.write_text("a: " + "9" * 200_000),
    "alias bomb": lambda path: path.write_text(_ALIASES),
    "nul": lambda path: path.write_bytes(b"name: a\0b\n"),
    "latin": lambda path: path.write_bytes(b"name: \xff\xfe\xe9\n"),
}


def _check_model(path: Path) -> list[str]:
    model = path.with_name(f"{path.name} model")
    model.mkdir()
    (model / "model.yaml").symlink_to(path)
    return ["models", "check", str(model)]


_COMMANDS: tuple[Callable[[Path], list[str]], ...] = (
    _check_model,
    lambda path: ["run", "voice", "--source", "sample", "--grammar", str(path)],
    lambda path: ["run", "voice", "--source", "sample", "--limits", str(path)],
    lambda path: ["run", "voice", "--source", str(path)],
    lambda path: ["run", "perception", "--source", str(path), "--frames", "1"],
)

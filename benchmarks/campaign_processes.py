"""Signals at any moment of a start, kills, and files that nobody should read."""

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

#: Longer than this is a hang; starting Python and its libraries is no part of it.
HANG_S = 2.0
_START_S = 6.0
_KILL_S = 60.0


class Outcome(NamedTuple):
    """How one trial ended; ``problem`` is empty where it ended well."""

    what: str
    seconds: float
    problem: str


def signals(seed: int, count: int, domain: int) -> Iterator[Outcome]:
    """End the container at some moment of its start: it goes, quickly and without a traceback."""
    draw = random.Random(seed)
    for _ in range(count):
        number = draw.choice((signal.SIGINT, signal.SIGTERM))
        after_s = draw.uniform(0.05, _START_S)
        with _container(domain) as process:
            time.sleep(after_s)
            process.send_signal(number)
            started = time.monotonic()
            said = _ended(process)
        seconds = time.monotonic() - started
        yield _judged(f"{number.name} after {after_s:.2f} s", seconds, said)


def kills(
    seed: int, count: int, domain: int, has_recovered: Callable[[], None]
) -> Iterator[Outcome]:
    """Kill the container; the next one does its work beside what the first has left."""
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
            said = _ended(process)
        outcome = _judged(f"SIGKILL after {after_s:.2f} s", 0.0, said)
        yield outcome._replace(
            seconds=time.monotonic() - started, problem=problem or outcome.problem
        )


def bad_files(seed: int, count: int) -> Iterator[Outcome]:
    """Hand what is no good file to the verbs that read one: it is refused by name, and soon.

    ``count`` pairs of kind and verb are drawn; there are no more than all of them.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A file that is not there is refused where a bad one is: the start before that is usual.
        usual_s = {verb: _run(verb(folder / f"none {n}"))[0] for n, verb in enumerate(_VERBS)}
        pairs = [(kind, verb) for kind in _KINDS for verb in _VERBS]
        for number, (kind, verb) in enumerate(
            random.Random(seed).sample(pairs, min(count, len(pairs)))
        ):
            path = folder / f"{number} {kind}"
            _KINDS[kind](path)
            arguments = verb(path)
            seconds, code, said = _run(arguments)
            what = f"{' '.join(arguments)} ({kind})"
            outcome = _judged(what, max(0.0, seconds - usual_s[verb]), said)
            if code == 0 and not outcome.problem:
                outcome = outcome._replace(problem="it was taken for a good one")
            yield outcome


def _judged(what: str, seconds: float, said: str) -> Outcome:
    if "Traceback" in said:
        return Outcome(what, seconds, f"a traceback: {said.strip().splitlines()[-1]}")
    if seconds > HANG_S:
        return Outcome(what, seconds, f"it took {seconds:.1f} s")
    return Outcome(what, seconds, "")


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


def _ended(process: subprocess.Popen[str]) -> str:
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
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


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
    "bomb of aliases": lambda path: path.write_text(_ALIASES),
    "nul": lambda path: path.write_bytes(b"name: a\0b\n"),
    "latin": lambda path: path.write_bytes(b"name: \xff\xfe\xe9\n"),
}


def _check_model(path: Path) -> list[str]:
    model = path.with_name(f"{path.name} model")
    model.mkdir()
    (model / "model.yaml").symlink_to(path)
    return ["models", "check", str(model)]


_VERBS: tuple[Callable[[Path], list[str]], ...] = (
    _check_model,
    lambda path: ["run", "voice", "--source", "sample", "--grammar", str(path)],
    lambda path: ["run", "voice", "--source", "sample", "--limits", str(path)],
    lambda path: ["run", "voice", "--source", str(path)],
    lambda path: ["run", "perception", "--source", str(path), "--frames", "1"],
)

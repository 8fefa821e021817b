"""The steps of the set-up: their progress, their failures, and the state after an interruption."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tree import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import command_runner
import progress
import workspace

DEADLINE_S = 60.0


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def make_runner(
    folder: Path, display: progress.Progress | None = None
) -> command_runner.CommandRunner:
    python = Path(sys.executable)
    return command_runner.CommandRunner(python, folder / "log", folder / "pip", display)


def python_command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_status_line_has_every_step_and_its_last_output() -> None:
    now = 100.0
    display = progress.Progress(io.StringIO(), clock=lambda: now)
    assert display.status_line() == ""
    with display.step("packages"), display.step("messages"):
        now = 107.2
        display.update("messages", "[3/9] Generating")
        display.update("another", "not running")
        assert display.status_line() == "set-up: 7 s: packages | messages: [3/9] Generating"
    assert display.status_line() == ""


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "log"])
def test_running_steps_are_displayed_until_they_end(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TERMINAL_INTERVAL_S", 0.01)
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.01)
    display = progress.Progress(stream)
    written = threading.Event()
    write = stream.write

    def recorded_write(text: str) -> int:
        if "packages" in text:
            written.set()
        return write(text)

    monkeypatch.setattr(stream, "write", recorded_write)
    with display.display(), display.step("packages"):
        assert written.wait(DEADLINE_S)
    assert ("\r" in stream.getvalue()) is stream.isatty()
    assert threading.active_count() == len(threading.enumerate())
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_output_of_a_command_is_its_progress_and_its_log(tmp_path: Path) -> None:
    display = progress.Progress(io.StringIO())
    with display.step("packages"):
        command = python_command("print('one'); print('two')")
        make_runner(tmp_path, display).run(command, step="packages")
        assert "packages: two" in display.status_line()
    assert "packages: one\npackages: two\n" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("printed", "hint"),
    [
        ("error: Failed to fetch: `http://index/simple/a`", "PIP_INDEX_URL"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no build of this version"),
        ("SyntaxError: invalid syntax", ""),
    ],
)
def test_a_failure_shows_its_last_lines_and_a_hint(tmp_path: Path, printed: str, hint: str) -> None:
    code = f"print({printed!r}); raise SystemExit(3)"
    with pytest.raises(command_runner.SetUpError) as failure:
        make_runner(tmp_path).run(python_command(code))
    message = str(failure.value)
    assert message.startswith(printed)
    assert "failed (3)" in message
    assert str(tmp_path / "log") in message
    assert hint in message.partition("whole log")[2]
    assert bool(hint) == ("\n" in message.partition("whole log")[2])


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(command_runner.SetUpError, match="no_such_cmake cannot be started"):
        make_runner(tmp_path).run(["no_such_cmake"])


@pytest.mark.parametrize("order", [1, -1], ids=["first", "second"])
def test_if_one_step_fails_the_other_is_stopped(tmp_path: Path, order: int) -> None:
    """The error is that of the failed step, not that the other was stopped."""
    runner = make_runner(tmp_path)
    started = tmp_path / "started"
    endless = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(1000)"

    def fail() -> None:
        waiting = threading.Event()
        while not started.exists():
            assert not waiting.wait(0.01)
        raise command_runner.SetUpError("no network")

    steps = [fail, lambda: runner.run(python_command(endless))][::order]
    with pytest.raises(command_runner.SetUpError, match="no network"):
        workspace.run_in_parallel(*steps, runner.stop)
    with pytest.raises(command_runner.StoppedError):
        runner.run(python_command("print('too late')"))


def test_both_parallel_steps_run() -> None:
    ran: list[int] = []
    steps = (lambda: ran.append(1), lambda: ran.append(2))
    workspace.run_in_parallel(*steps, lambda: ran.append(3))
    assert sorted(ran) == [1, 2]


class Bench:
    """A workspace that only records its steps; ``broken`` names a step that fails."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.venv = folder / ".venv"
        self.done: list[str] = []
        self.broken = ""
        monkeypatch.setattr(workspace.Workspace, "_create_venv", lambda _: self.create())
        monkeypatch.setattr(workspace, "Packages", self.packages)
        monkeypatch.setattr(workspace, "PackageBuild", lambda *_, **__: self)
        self.content = "one"

    def create(self) -> None:
        self.step("venv")
        self.venv.mkdir(exist_ok=True)

    def packages(self, requirements: Path, venv: Path, distro: str, sets: list[str], *_: object):
        self.sets = sets
        return self

    def step(self, name: str) -> None:
        if name == self.broken:
            raise KeyboardInterrupt
        self.done.append(name)

    def fingerprint(self, step: str = "") -> str:
        return self.content + (step or str(self.sets))

    def ros_fingerprint(self) -> str:
        return "ros"

    def install_first(self, step: str) -> None:
        self.step("first")

    def install_rest(self, step: str) -> None:
        self.step("rest")

    def generate(self, step: str) -> None:
        self.step("generate")

    def link(self) -> None:
        self.step("link")

    def prepare(self, *requested: str) -> list[str]:
        self.done = []
        ros = workspace.Ros("kilted", sourced=False)
        display = progress.Progress(io.StringIO())
        tested = workspace.Workspace(self.venv, ros, list(requested), display, with_gpu_kit=False)
        assert tested.prepare() is bool(self.done)
        return sorted(self.done)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


ALL_STEPS = ["first", "generate", "link", "rest", "venv"]


def test_a_second_run_does_nothing(bench: Bench) -> None:
    assert bench.prepare() == ALL_STEPS
    assert bench.prepare() == []


def test_an_additional_set_is_installed_and_kept(bench: Bench) -> None:
    bench.prepare()
    assert bench.prepare("voice") == ["first", "rest"]
    assert bench.prepare() == []
    assert bench.sets == ["run", "voice"]


@pytest.mark.parametrize("before", [[], ["run"], ["voice"]], ids=["new", "grown", "the same"])
@pytest.mark.parametrize("broken", ["first", "rest"])
def test_after_interrupted_packages_the_environment_is_made_again(
    bench: Bench, broken: str, before: list[str]
) -> None:
    if before:
        bench.prepare(*before)
    bench.broken = broken
    if before != ["voice"]:
        with pytest.raises(KeyboardInterrupt):
            bench.prepare("voice")
        bench.broken = ""
        assert bench.prepare("voice") == ALL_STEPS
    assert bench.prepare("voice") == []


@pytest.mark.parametrize(
    ("broken", "left"), [("generate", ["generate", "link"]), ("link", ["link"])]
)
def test_an_interrupted_build_is_repeated(bench: Bench, broken: str, left: list[str]) -> None:
    """Also if the sources are reset to those of the previous build."""
    bench.prepare()
    bench.content, bench.broken = "two", broken
    with pytest.raises(KeyboardInterrupt):
        bench.prepare()
    assert json.loads((bench.venv / "set_up.json").read_text())["linked"] is None
    bench.broken = ""
    assert set(left) <= set(bench.prepare())
    assert bench.prepare() == []


def test_a_truncated_stamp_file_is_ignored(bench: Bench) -> None:
    bench.prepare()
    (bench.venv / "set_up.json").write_text('{"venv": [')
    assert bench.prepare() == ALL_STEPS


def test_a_terminated_set_up_ends_its_commands(tmp_path: Path) -> None:
    """On SIGTERM, as from a service or a closed window; the command would run for ever."""
    started = tmp_path / "started"
    child = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid()))"
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "scripts")!r})
import command_runner, progress, workspace
class Endless:
    def __init__(self, *_, **__):
        log = Path({str(tmp_path / "log")!r})
        self.runner = command_runner.CommandRunner(Path(sys.executable), log, Path())
    def prepare(self):
        endless = [sys.executable, "-c", {child + "; time.sleep(1000)"!r}]
        run = lambda: self.runner.run(endless)
        workspace.run_in_parallel(lambda: None, run, self.runner.stop)
workspace.CACHE = Path({str(tmp_path)!r})
workspace.Workspace = Endless
sys.exit(workspace.main([".venv"], sourced=False))
"""
    with subprocess.Popen(python_command(code), stderr=subprocess.PIPE, text=True) as process:
        waiting = threading.Event()
        for _ in range(int(DEADLINE_S / 0.02)):
            if started.exists() and started.read_text():
                break
            waiting.wait(0.02)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, "interrupted" in errors) == (130, True), errors
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)

"""The set-up's steps: what is shown of them, how they fail, and what an interruption leaves."""

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
import commands
import progress
import workspace

DEADLINE_S = 60.0


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def runner(folder: Path, shown: progress.Progress | None = None) -> commands.Commands:
    return commands.Commands(Path(sys.executable), folder / "log", folder / "pip", shown)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_line_names_every_step_and_what_was_heard_of_it() -> None:
    now = 100.0
    shown = progress.Progress(io.StringIO(), clock=lambda: now)
    assert shown.line() == ""
    with shown.step("packages"), shown.step("messages"):
        now = 107.2
        shown.note("messages", "[3/9] Generating")
        shown.note("another", "not under way")
        assert shown.line() == "set-up: 7 s: packages | messages: [3/9] Generating"
    assert shown.line() == ""


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "log"])
def test_what_goes_on_is_shown_until_it_ends(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "ON_TERMINAL_S", 0.01)
    monkeypatch.setattr(progress, "ELSEWHERE_S", 0.01)
    shown = progress.Progress(stream)
    written = threading.Event()
    write = stream.write

    def noted(text: str) -> int:
        if "packages" in text:
            written.set()
        return write(text)

    monkeypatch.setattr(stream, "write", noted)
    with shown.shown(), shown.step("packages"):
        assert written.wait(DEADLINE_S)
    assert ("\r" in stream.getvalue()) is stream.isatty()
    assert threading.active_count() == len(threading.enumerate())
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_a_commands_lines_are_its_progress_and_its_log(tmp_path: Path) -> None:
    shown = progress.Progress(io.StringIO())
    with shown.step("packages"):
        runner(tmp_path, shown).run(python("print('one'); print('two')"), step="packages")
        assert "packages: two" in shown.line()
    assert "packages: one\npackages: two\n" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("printed", "hint"),
    [
        ("error: Failed to fetch: `http://index/simple/a`", "PIP_INDEX_URL"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("SyntaxError: invalid syntax", ""),
    ],
)
def test_a_failure_shows_its_last_lines_and_how_to_mend_it(
    tmp_path: Path, printed: str, hint: str
) -> None:
    code = f"print({printed!r}); raise SystemExit(3)"
    with pytest.raises(commands.SetUpError) as failure:
        runner(tmp_path).run(python(code))
    said = str(failure.value)
    assert said.startswith(printed)
    assert "failed (3)" in said
    assert str(tmp_path / "log") in said
    assert hint in said.partition("whole log")[2]
    assert bool(hint) == ("\n" in said.partition("whole log")[2])


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(commands.SetUpError, match="no_such_cmake cannot be started"):
        runner(tmp_path).run(["no_such_cmake"])


@pytest.mark.parametrize("order", [1, -1], ids=["first", "second"])
def test_where_one_step_fails_the_other_is_ended(tmp_path: Path, order: int) -> None:
    """And the reason is told, not that the other was ended."""
    run = runner(tmp_path)
    started = tmp_path / "started"
    endless = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(1000)"

    def fail() -> None:
        waiting = threading.Event()
        while not started.exists():
            assert not waiting.wait(0.01)
        raise commands.SetUpError("no network")

    steps = [fail, lambda: run.run(python(endless))][::order]
    with pytest.raises(commands.SetUpError, match="no network"):
        workspace.side_by_side(*steps, run.stop)
    with pytest.raises(commands.StoppedError):
        run.run(python("print('too late')"))


def test_both_steps_are_done() -> None:
    done: list[int] = []
    workspace.side_by_side(lambda: done.append(1), lambda: done.append(2), lambda: done.append(3))
    assert sorted(done) == [1, 2]


class Bench:
    """A workspace whose venv, packages and build only leave notes; ``broken`` is a step."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.venv = folder / ".venv"
        self.done: list[str] = []
        self.broken = ""
        monkeypatch.setattr(workspace.Workspace, "_create_venv", lambda _: self.create())
        monkeypatch.setattr(workspace, "Packages", self.packages)
        monkeypatch.setattr(workspace, "Build", lambda *_, **__: self)
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

    def prepare(self, *wanted: str) -> list[str]:
        self.done = []
        ros = workspace.Ros("kilted", sourced=False)
        shown = progress.Progress(io.StringIO())
        made = workspace.Workspace(self.venv, ros, list(wanted), shown, with_gpu_kit=False)
        assert made.prepare() is bool(self.done)
        return sorted(self.done)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


EVERYTHING = ["first", "generate", "link", "rest", "venv"]


def test_a_second_time_nothing_is_done(bench: Bench) -> None:
    assert bench.prepare() == EVERYTHING
    assert bench.prepare() == []


def test_a_set_more_is_installed_and_kept(bench: Bench) -> None:
    bench.prepare()
    assert bench.prepare("voice") == ["first", "rest"]
    assert bench.prepare() == []
    assert bench.sets == ["run", "voice"]


@pytest.mark.parametrize("before", [[], ["run"], ["voice"]], ids=["new", "grown", "the same"])
@pytest.mark.parametrize("broken", ["first", "rest"])
def test_interrupted_packages_are_installed_from_nothing(
    bench: Bench, broken: str, before: list[str]
) -> None:
    if before:
        bench.prepare(*before)
    bench.broken = broken
    if before != ["voice"]:
        with pytest.raises(KeyboardInterrupt):
            bench.prepare("voice")
        bench.broken = ""
        assert bench.prepare("voice") == EVERYTHING
    assert bench.prepare("voice") == []


@pytest.mark.parametrize(
    ("broken", "left"), [("generate", ["generate", "link"]), ("link", ["link"])]
)
def test_an_interrupted_build_is_built_again(bench: Bench, broken: str, left: list[str]) -> None:
    """Also where the sources went back to what was built before."""
    bench.prepare()
    bench.content, bench.broken = "two", broken
    with pytest.raises(KeyboardInterrupt):
        bench.prepare()
    assert json.loads((bench.venv / "set_up.json").read_text())["linked"] is None
    bench.broken = ""
    assert set(left) <= set(bench.prepare())
    assert bench.prepare() == []


def test_a_stamp_file_cut_short_is_no_stamp(bench: Bench) -> None:
    bench.prepare()
    (bench.venv / "set_up.json").write_text('{"venv": [')
    assert bench.prepare() == EVERYTHING


def test_a_set_up_that_is_ended_ends_what_it_started(tmp_path: Path) -> None:
    """SIGTERM, as from a service or a closed window; the command would run for ever."""
    started = tmp_path / "started"
    child = f"import os, pathlib, time; pathlib.Path({str(started)!r}).write_text(str(os.getpid()))"
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "scripts")!r})
import commands, progress, workspace
class Endless:
    def __init__(self, *_, **__):
        log = Path({str(tmp_path / "log")!r})
        self.commands = commands.Commands(Path(sys.executable), log, Path())
    def prepare(self):
        endless = [sys.executable, "-c", {child + "; time.sleep(1000)"!r}]
        run = lambda: self.commands.run(endless)
        workspace.side_by_side(lambda: None, run, self.commands.stop)
workspace.CACHE = Path({str(tmp_path)!r})
workspace.Workspace = Endless
sys.exit(workspace.main([".venv"], sourced=False))
"""
    with subprocess.Popen(python(code), stderr=subprocess.PIPE, text=True) as process:
        waiting = threading.Event()
        for _ in range(int(DEADLINE_S / 0.02)):
            if started.exists() and started.read_text():
                break
            waiting.wait(0.02)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, "interrupted" in said) == (130, True), said
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)

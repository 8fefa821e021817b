"""The originals are restored however the writer ends: by itself, its guardian or the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edge_inference
from actuator_machine import CPU, DEADLINE_S, GPU, Workshop, wait_for
from edge_inference.platforms.actuators import guardian
from edge_inference.platforms.actuators.actuator import ActuatorResult
from edge_inference.platforms.actuators.actuators import Actuators
from edge_inference.platforms.actuators.journal import Journal, JournalRecord
from edge_inference.platforms.actuators.registry import ACTUATOR_NAMES
from edge_inference.platforms.actuators.writer_lock import WriterLock

EVERYTHING = (
    "power_mode=MAXN",
    "cpu_governor=performance",
    "gpu_governor=performance",
    "jetson_clocks=on",
    "cap=0.3",
)

#: The number of writes to the files of two CPU clusters and a GPU for that.
WRITES = 9


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


class Writer:
    """The process of ``actuator_writer.py``."""

    def __init__(self, workshop: Workshop, *requests: str, fatal: int = 0) -> None:
        program = Path(__file__).with_name("actuator_writer.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(workshop.root), str(fatal), *requests],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(edge_inference.__file__).parents[1])},
        )
        self._words: list[str] = []

    def ready(self) -> Writer:
        self._words = self.process.stdout.readline().split()
        assert self._words[:1] == ["ready"]
        return self

    @property
    def guardian(self) -> int:
        return int(self._words[1])

    def tell(self, word: str) -> None:
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start(workshop: Workshop) -> Iterator[type]:
    started: list[Writer] = []

    def start_one(*requests: str, fatal: int = 0) -> Writer:
        started.append(Writer(workshop, *requests, fatal=fatal))
        return started[-1]

    yield start_one
    for writer in started:
        writer.end()


def is_over(pid: int) -> bool:
    """Tell whether a process that is not our child has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_killed_after_all_writes(workshop: Workshop, start) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING).ready()
    assert workshop.get("var/lib/nvpmodel/status") == "pmode:0000"
    assert workshop.settings() != before
    writer.process.kill()
    wait_for(lambda: workshop.settings() == before, "putting back")
    wait_for(lambda: is_over(writer.guardian), "the guardian's end")
    assert not (workshop.state / "actuators.json").exists()


@pytest.mark.parametrize("fatal", range(1, WRITES + 1))
def test_killed_before_any_write(workshop: Workshop, start, fatal: int) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING, fatal=fatal)
    assert writer.process.wait(DEADLINE_S) == -signal.SIGKILL
    wait_for(
        lambda: workshop.settings() == before and not (workshop.state / "actuators.json").exists(),
        "putting back",
    )


@pytest.mark.parametrize("fatal", [WRITES + 1, WRITES + 2, WRITES + 6])
def test_killed_during_the_restore(workshop: Workshop, start, fatal: int) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING, fatal=fatal).ready()
    writer.tell("close")
    assert writer.process.wait(DEADLINE_S) == -signal.SIGKILL
    wait_for(
        lambda: workshop.settings() == before and not (workshop.state / "actuators.json").exists(),
        "putting back",
    )


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_a_tool_runs(workshop: Workshop, start, moment: str) -> None:
    """The tool ends with its caller; else it would overwrite what the guardian has restored."""
    before = workshop.settings()
    reports = workshop.root / "reports"
    os.mkfifo(reports)
    change = "(root / 'var/lib/nvpmodel/status').write_text(f'pmode:{int(sys.argv[2]):04d}\\n')\n"
    hang = "import os, time\n"
    hang += "with (root / 'reports').open('w') as out: print(os.getpid(), file=out)\n"
    hang += "time.sleep(1000)\n"
    steps = [hang, change] if moment == "before" else [change, hang]
    body = "".join(f"    {line}\n" for line in "".join(steps).splitlines())
    workshop.add_tool("nvpmodel", f"if sys.argv[2] == '0':\n{body}else:\n    {change}")
    writer = start("power_mode=MAXN")
    with reports.open() as output:
        tool = int(output.readline())
    writer.process.kill()
    wait_for(lambda: is_over(tool), "the tool's end")
    wait_for(lambda: not (workshop.state / "actuators.json").exists(), "putting back")
    assert workshop.settings() == before
    assert workshop.calls() == ["nvpmodel -m 0", "nvpmodel -m 2"]


def test_terminated(workshop: Workshop, start) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING).ready()
    writer.process.terminate()
    assert writer.process.wait(DEADLINE_S) == -signal.SIGTERM
    wait_for(lambda: workshop.settings() == before, "putting back")


def test_guardian_ignores_signals(workshop: Workshop, start) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING).ready()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(writer.guardian, number)
    writer.process.kill()
    wait_for(lambda: workshop.settings() == before, "putting back")


@pytest.mark.parametrize("word", ["close", "exit"])
def test_a_normal_end(workshop: Workshop, start, word: str) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING).ready()
    writer.tell(word)
    assert writer.process.wait(DEADLINE_S) == 0
    wait_for(lambda: workshop.settings() == before, "putting back")
    wait_for(lambda: is_over(writer.guardian), "the guardian's end")


def test_next_start_restores_after_the_guardian_is_killed(workshop: Workshop, start) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING).ready()
    os.kill(writer.guardian, signal.SIGKILL)
    wait_for(lambda: is_over(writer.guardian), "the guardian's end")
    writer.process.kill()
    writer.process.wait(DEADLINE_S)
    changed = workshop.settings()
    assert changed != before
    # With an empty allow-list nothing is written.
    assert Actuators([], machine=workshop.machine()).close()
    assert workshop.settings() == changed
    following = Actuators(["cpu_governor"], machine=workshop.machine())
    wait_for(lambda: workshop.settings() == before, "putting back")
    assert following.close(DEADLINE_S)
    results = {outcome.actuator: outcome.result for outcome in following.take_outcomes()}
    assert results == dict.fromkeys(ACTUATOR_NAMES, ActuatorResult.RESTORED)


def test_writer_restores_after_the_guardian_is_killed(workshop: Workshop, start) -> None:
    before = workshop.settings()
    writer = start(*EVERYTHING).ready()
    os.kill(writer.guardian, signal.SIGKILL)
    writer.tell("close")
    assert writer.process.wait(DEADLINE_S) == 0
    assert workshop.settings() == before


def test_after_a_reboot_only_persistent_settings_are_restored(workshop: Workshop, start) -> None:
    writer = start(*EVERYTHING).ready()
    os.kill(writer.guardian, signal.SIGKILL)
    writer.process.kill()
    writer.process.wait(DEADLINE_S)
    workshop.put("proc/sys/kernel/random/boot_id", "second")
    clocks = {name: data for name, data in workshop.settings().items() if name.startswith("sys/")}
    following = Actuators(["power_mode"], machine=workshop.machine())
    assert following.close(DEADLINE_S)
    assert workshop.get("var/lib/nvpmodel/status") == "pmode:0002"
    assert clocks.items() <= workshop.settings().items()
    assert [outcome.actuator for outcome in following.take_outcomes()] == ["power_mode"]
    assert not (workshop.state / "actuators.json").exists()


def test_a_second_process_is_refused(workshop: Workshop, start) -> None:
    before = workshop.settings()
    writer = start("cap=0.3").ready()
    held = workshop.settings()
    second = Actuators(ACTUATOR_NAMES, machine=workshop.machine())
    second.request("cpu_governor", "performance")
    assert second.wait_until_idle(DEADLINE_S)
    outcome = second.outcomes()[-1]
    assert outcome.result is ActuatorResult.REFUSED
    assert f"process {writer.process.pid} already sets this machine's clocks" in outcome.message
    assert second.close(DEADLINE_S)
    assert workshop.settings() == held != before
    writer.tell("close")
    assert writer.process.wait(DEADLINE_S) == 0
    assert workshop.settings() == before


def test_second_process_becomes_the_writer_later(workshop: Workshop, start) -> None:
    """Its request is carried out after the first process and its guardian have ended."""
    before = workshop.settings()
    writer = start("cap=0.3").ready()
    second = Actuators(["gpu_governor", "gpu_clock_cap"], machine=workshop.machine())
    second.request("gpu_governor", "performance")

    def results() -> dict[str, ActuatorResult]:
        second.cap_clocks(0.6)  # repeatedly, as a control loop does
        assert second.wait_until_idle(DEADLINE_S)
        outcomes = {outcome.actuator: outcome.result for outcome in second.outcomes()}
        return {name: outcomes[name] for name in second.allowed}

    assert set(results().values()) == {ActuatorResult.REFUSED}
    writer.process.kill()
    writer.process.wait(DEADLINE_S)
    wait_for(lambda: set(results().values()) == {ActuatorResult.SET}, "the second's turn")
    assert workshop.get(f"{GPU}/governor") == "performance"
    assert workshop.get(f"{GPU}/max_freq") == "510000000"
    wait_for(lambda: is_over(writer.guardian), "the guardian's end")
    assert workshop.get(f"{GPU}/max_freq") == "510000000"
    assert workshop.get(f"{CPU}/policy0/scaling_max_freq") == "1984000"
    assert second.close(DEADLINE_S)
    assert workshop.settings() == before


def test_a_guardian_leaves_the_next_writer_alone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next writer starts and ends between the guardian's check and its lock."""
    governor_file = f"{CPU}/policy0/scaling_governor"
    originals = {"cpu_governor": {"files": {governor_file: "performance"}}}
    journal = Journal(workshop.state / "actuators.json")
    workshop.state.mkdir(parents=True)
    journal.store(JournalRecord("first", "first", originals))

    class LateLock(WriterLock):
        def acquire(self) -> None:
            journal.store(JournalRecord("second", "first", originals))
            super().acquire()

    monkeypatch.setattr(guardian, "WriterLock", LateLock)
    guardian.restore_when_writer_ended(workshop.state, "first", workshop.machine(), ())
    assert workshop.get(governor_file) == "schedutil"
    monkeypatch.undo()
    guardian.restore_when_writer_ended(workshop.state, "second", workshop.machine(), ())
    assert workshop.get(governor_file) == "performance"

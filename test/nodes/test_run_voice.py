"""``edge-inference run voice`` as a user runs it: a process of its own on a person's voice."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from edge_inference.cli.commands import run_voice
from edge_inference.speech.recognition.transcription import MODES
from relaxed_limits import write_relaxed_limits
from voice_rig import PERSON, ROOT, models_or_skip

PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
DEADLINE_S = 600
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(autouse=True)
def models() -> None:
    models_or_skip()


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    return {**os.environ, "PYTHONPATH": path, "TERM": "xterm"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", "voice", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
    )


def test_recorded_speech_becomes_velocities(tmp_path: Path) -> None:
    limits = write_relaxed_limits(tmp_path)
    arguments = ["--mode", "free", "--limits", limits, "--deadline-ms", "1", "--json"]
    done = run("--source", str(PERSON), *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    utterance, last = map(json.loads, done.stdout.splitlines())
    assert utterance["text"] == "Go forward ten meters."  # the grammar's phrases are not like this
    slots = {"direction": "forward", "distance": 10.0}
    assert utterance["intents"] == [{"name": "move", "slots": slots}]
    assert utterance["steps"][0].startswith("move 10 m")
    times = list(utterance["ms"].values())
    assert list(utterance["ms"]) == ["speech", "text", "intent", "plan", "command"]
    assert times == sorted(times)
    summary = last["summary"]
    assert summary["velocities"] > 0
    processed = [each for each in utterance["timeline"] if each["segment"] == "process"]
    stages = ["speech_recognition", "intent_parser", "planner", "command"]
    assert [each["stage"] for each in processed] == stages
    assert utterance["sum_ms"] == pytest.approx(utterance["end_to_end_ms"], rel=0.02, abs=0.3)
    assert summary["end_to_end_ms"]["p50"] == utterance["end_to_end_ms"]
    assert (summary["deadline_ms"], summary["deadline_misses"]) == (1.0, 1)
    assert summary["stages"].keys() >= set(stages)


def test_every_mode_is_an_option() -> None:
    assert run_voice.MODES == MODES


def test_silence_has_no_result(tmp_path: Path) -> None:
    file = tmp_path / "silence.wav"
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(16_000)
        stream.writeframes(bytes(2 * 16_000))
    done = run("--source", str(file), "--json")
    assert (done.returncode, done.stderr) == (1, "")  # and no audio of the other run
    (last,) = map(json.loads, done.stdout.splitlines())
    counts = {"utterances": 0, "planned": 0, "velocities": 0, "p50_ms": {}}
    assert last["summary"].items() >= counts.items()
    assert set(last["summary"]["end_to_end_ms"].values()) == {None}
    assert (last["summary"]["deadline_misses"], last["summary"]["clock_faults"]) == (0, {})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such.wav"], "no/such.wav"),
        (["sample", "--expect", "no.yaml"], "no.yaml"),
        (["sample", "--grammar", "no.yaml"], "intent_parser, speech_recognition: no.yaml"),
        ([str(PERSON), "--expect", "no.yaml"], "--expect: no.yaml: no such file; name another"),
        (["sample", "--model", "moonshine_tyni"], "moonshine_tyni"),
    ],
)
def test_an_error_is_one_line(arguments: list[str], words: str) -> None:
    done = run("--source", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("intent", "code"), [("move", 0), ("turn", 1)])
def test_expected_results_are_checked(tmp_path: Path, intent: str, code: int) -> None:
    file = tmp_path / "expected.yaml"
    file.write_text(
        f"sentences: [{{file: {PERSON.name}, said: x, text: go forward ten meters, "
        f"intents: [{{name: {intent}, slots: {{direction: forward, distance: 10}}}}], "
        "steps: [], held: []}]"
    )
    # The plan is refused: the robot may drive one meter only.
    strict = Path(write_relaxed_limits(tmp_path))
    text = strict.read_text()
    strict.write_text(text.replace("max_distance_m: 10.0", "max_distance_m: 1.0"))
    done = run("--source", str(PERSON), "--expect", str(file), "--limits", str(strict), "--json")
    assert done.stderr == ""
    checked, last = map(json.loads, done.stdout.splitlines())
    assert done.returncode == code
    assert (checked["file"], checked["refused"]) == (PERSON.name, True)
    assert checked["velocities"]["held"] == []
    assert [words.partition(":")[0] for words in checked["wrong"]] == ["intents"] * code
    assert (last["summary"]["right"], last["summary"]["expected"]) == (1 - code, 1)


def test_ctrl_c_on_a_terminal_ends_in_good_order() -> None:
    ours, theirs = pty.openpty()
    environ = environment()
    environ.pop("CI", None)  # if it is set, there is no live view
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "run", "voice", "--source", "sample"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environ,
    ) as process:
        os.close(theirs)
        shown = read_until(ours, b"dBFS")
        process.send_signal(signal.SIGINT)
        shown += read_until(ours, None)
        assert process.wait(DEADLINE_S) == 130
    os.close(ours)
    assert b"\x1b[?25h" in shown  # the cursor is back
    assert b"Ctrl-C ends" in shown
    assert b"utterances" in shown
    assert b"Traceback" not in shown


def read_until(terminal: int, words: bytes | None) -> bytes:
    """Read up to some words; for None until the program is gone."""
    data = b""
    while words is None or words not in data:
        assert select.select([terminal], [], [], DEADLINE_S)[0], data
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux: the other end was closed
            break
        if not piece:
            break
        data += piece
    return data

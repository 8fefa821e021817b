"""``edge-inference validate`` before anything runs: usage, runs that scenarios share, processes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.signals import Interrupt
from edge_inference.cli.validate.scenario_process import RunRequest
from edge_inference.cli.validate.scenario_runs import group_by_run, run_scenarios
from edge_inference.cli.validate.validation import ValidateOptions
from edge_inference.cli.validate.verdict_table import print_verdicts
from edge_inference.observe.statistics.intervals import Interval
from edge_inference.observe.targets.target_file import Scenario
from edge_inference.observe.targets.verdict import judge
from target_kit import target, write

ONE = "- {what: age_ms, where: decode, max: 5}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "scenario a names no pipeline; give one with --pipeline"),
        (["--scenario", "b"], "unknown scenario 'b'; known: a"),
        (["--live", "--pipeline", "perception"], "--pipeline: --live judges"),
        (["--live", "--source", "x.mp4"], "--source: --live judges"),
        (["--namespace", "ai"], "--namespace is for --live"),
        (["--pipeline", "percepton"], "--pipeline percepton: unknown pipeline"),
        (["--junit", "no/such/folder/x.xml"], "its folder does not exist"),
        (["--junit", "x" * 300], "cannot be written (File name too long)"),
        (["--junit", "."], "got a folder"),
        (["--seconds", "0.5"], "from 1 to 86400"),
        (["--pipeline", ""], "expected a name, got an empty text"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", str(write(tmp_path, ONE)), *arguments]) == 2
    errors = capsys.readouterr().err
    assert words in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("text", ["", "name: x", "name: x\nscenarios: {a: {targets: []}}", "{"])
def test_an_invalid_file_is_no_failed_target(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "targets.yaml"
    file.write_text(text)
    assert run(["validate", str(file)]) == 2
    assert str(file) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("specificatoin", "no shipped targets of this name; did you mean 'specification'?"),
        ("x" * 300, "no shipped targets of this name; known: specification"),
        ("x" * 300 + ".yaml", "no such file"),
        ("absent.yaml", "no such file"),
        ("/dev/null", "got a folder or a device"),
        (".", "got a folder or a device"),
    ],
)
def test_names_of_no_file_of_targets(
    name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", name]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("pipeline: percepton", r"scenario a: unknown pipeline 'percepton': .*'perception'"),
        ("pipeline: perception\narguments: {rat: 5}", "unknown argument 'rat'; did you mean"),
        ("pipeline: platform\nsource: sample", "unknown argument 'source'"),
    ],
)
def test_a_pipeline_or_an_argument_that_does_not_exist(
    scenario: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["validate", str(write(tmp_path, ONE, scenario))]) == 2
    errors = capsys.readouterr().err
    assert re.search(words, errors)
    assert errors.count("\n") == 1


def test_a_file_without_a_scenario_for_a_running_pipeline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, ONE, "live: false")
    assert run(["validate", str(file), "--live"]) == 2
    assert "live is false in every scenario chosen: a" in capsys.readouterr().err


def test_options_are_checked_before_the_file() -> None:
    with pytest.raises(UsageError, match="--namespace"):
        ValidateOptions("absent.yaml", namespace="x").check()


def scenario(name: str, **values: object) -> Scenario:
    return Scenario(name, (target("age_ms", "decode"),), pipeline="perception", **values)  # type: ignore[arg-type]


def test_equal_scenarios_share_a_run() -> None:
    a, b = scenario("a", arguments={"x": "1", "y": "2"}), scenario("b", seconds=5.0)
    c = scenario("c", arguments={"y": "2", "x": "1"})
    d = scenario("d", source="x.mp4")
    assert group_by_run([a, b, c, d]) == [(a, c), (b,), (d,)]


def test_a_request_passes_between_processes() -> None:
    targets = {"a": [target("age_ms", "decode", "p99", deadline_ms=None, note="ä\n")]}
    request = RunRequest(targets, "perception", "x", 5.0, 0.0, {"rate": "3"})
    assert "\n" not in request.to_json()
    assert RunRequest.from_json(request.to_json()) == request


def test_the_sample_and_the_trial_topic_of_voice() -> None:
    voice = RunRequest({}, "voice", "sample", 5.0, 0.0, {}).pipeline_arguments()
    assert Path(voice["source"]).is_dir()
    assert voice["cmd_vel_topic"] == "ai/cmd_vel"  # a trial drives no robot
    robot = RunRequest({}, "robot", "", 5.0, 0.0, {"audio_source": "sample"}).pipeline_arguments()
    assert robot["audio_source"] == voice["source"]
    own = RunRequest({}, "voice", "x.wav", 5.0, 0.0, {"cmd_vel_topic": "/cmd_vel"})
    assert own.pipeline_arguments() == {"cmd_vel_topic": "/cmd_vel", "source": "x.wav"}
    assert RunRequest({}, "perception", "sample", 5.0, 0.0, {}).pipeline_arguments() == {
        "source": "sample"
    }


def test_after_a_signal_no_run_begins() -> None:
    interrupted = Interrupt()
    interrupted.set()
    outcome = run_scenarios((scenario("a"),), lambda *phase: None, print, interrupted)
    assert outcome.failure == "interrupted before it was run"


def test_the_table_says_a_common_reason_once() -> None:
    both = [judge("a", target(what, "x"), "no camera") for what in ("queue_ms", "age_ms")]
    measured = judge("b", target("queue_ms", "x"), Interval(1234.56, 2.0, None, 40, 3.0))
    optional = judge("b", target("age_ms", "x", required=False), "no stage")
    stream = io.StringIO()
    print_verdicts([*both, measured, optional], stream)
    text = stream.getvalue()
    assert text.count("no camera") == 1
    (row,) = (line.split() for line in text.splitlines() if "1235" in line)
    shown = "1235 2 to … 40 -1225 INCONCLUSIVE: too few samples (40, worth 3)"
    assert row[-len(shown.split()) :] == shown.split()
    assert "NOT MEASURED (not required): no stage" in text
    assert "0 PASS, 0 FAIL, 1 INCONCLUSIVE, 3 NOT MEASURED; 1 of 4 not required" in text


class Terminal(io.StringIO):
    """A terminal; rich takes its width from COLUMNS."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [80, 160])
def test_verdicts_are_readable_on_any_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    age = target("age_ms", "inference", statistic="p95", bound=100.0)
    stream = Terminal()
    print_verdicts(
        [
            judge("vision", age, Interval(12.25, 11.5, 13.75, 400, 400)),
            judge("vision", target("power_w"), "no sensor reports the power"),
        ],
        stream,
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    text = " ".join(shown.split())
    for words in ("12.25", "11.5 to 13.75", "400", "+87.75", "PASS"):
        assert words in text
    assert "NOT MEASURED: no sensor reports the power" in text
    assert max(map(len, shown.splitlines())) <= columns

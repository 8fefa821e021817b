"""Every command in a fenced block of the documents exists."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from edge_inference.cli.main import main
from tree import ROOT, tracked_files

#: A command or an action of it, such as quantize-aware.
NAME = re.compile(r"[a-z][\w-]*")
FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def commands(text: str, program: str) -> list[list[str]]:
    """Return the arguments of each call of a program in the fenced blocks."""
    calls = []
    for _, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = _words(line)
            starts = [i for i, word in enumerate(words) if Path(word).name == program]
            if starts and all(_is_prefix(word) for word in words[: starts[0]]):
                calls.append(words[starts[0] + 1 :])
    return calls


def _words(line: str) -> list[str]:
    """Return the words of the first command in a shell line, without a comment."""
    try:
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
    except ValueError:  # printed output with an apostrophe, not a shell line
        return []
    ends = [i for i, word in enumerate(words) if word in ("|", "&&", ";", ">", "||")]
    return words[: ends[0]] if ends else words


def _is_prefix(word: str) -> bool:
    """Return whether a word may precede a command: an assignment or a wrapper."""
    return "=" in word or word in ("time", "env", "sudo", "ros2", "run", "edge_inference")


def documented(program: str) -> list[list[str]]:
    documents = [ROOT / name for name in tracked_files() if name.suffix == ".md"]
    calls = [call for file in documents for call in commands(file.read_text(), program)]
    return sorted({tuple(call): call for call in calls}.values())


def help_of(*command: str) -> str:
    """Return the help of a command of edge-inference; fail if there is no such command."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code: object = main("edge-inference", [*command, "--help"])
        except SystemExit as end:
            code = end.code
    assert code == 0, output.getvalue()
    return output.getvalue()


def test_make_targets_and_benchmarks_exist() -> None:
    for words in documented("make"):
        command = ["make", "--dry-run", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for name in (word.removeprefix("NAME=") for word in words if word.startswith("NAME=")):
            assert (ROOT / "benchmarks" / f"{name}.py").is_file(), words


def test_commands_and_their_options_exist() -> None:
    calls = documented("edge-inference")
    assert len(calls) > 10
    helps: dict[tuple[str, ...], str] = {}
    for words in calls:
        command = tuple(itertools.takewhile(NAME.fullmatch, words[:2]))
        if command not in helps:
            helps[command] = help_of(*command)
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert {option for option in options if option not in helps[command]} == set(), words


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="wobble"):
        help_of("wobble")


def test_launch_files_and_executables_exist() -> None:
    declared = re.search(r"set\(executables ([\w ]+)\)", (ROOT / "CMakeLists.txt").read_text())
    assert declared is not None
    executables = {*declared[1].split(), "edge-inference"}
    for words in documented("ros2"):
        if words[:2] == ["launch", "edge_inference"]:
            assert (ROOT / "launch" / words[2]).is_file(), words
        if words[:2] == ["run", "edge_inference"]:
            assert words[2] in executables, words


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("", []),
        ("make test outside of a fence", []),
        ("```\nmake demo\n```", [["demo"]]),
        ("```sh\n$ make test TIER=unit  # quick\n```", [["test", "TIER=unit"]]),
        ('```\nROS=x make test ARGS="-k foo" && ls\n```', [["test", "ARGS=-k foo"]]),
        ("```\nmake \\\n  demo\n```", [["demo"]]),
        ("```\nwe make things\nit doesn't make sense\n```", []),
        ("1. x\n   ```\n   make demo\n   ```\n", [["demo"]]),
    ],
)
def test_commands_are_found_in_fences(text: str, calls: list[list[str]]) -> None:
    assert commands(text, "make") == calls

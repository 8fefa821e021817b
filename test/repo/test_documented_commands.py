"""Every command that the documents show in a fenced block exists."""

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

FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def commands(text: str, program: str) -> list[list[str]]:
    """Return the words after a program's name, for each of its calls in the fenced blocks."""
    found = []
    for _, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = _words(line)
            starts = [i for i, word in enumerate(words) if Path(word).name == program]
            if starts and all(_is_prefix(word) for word in words[: starts[0]]):
                found.append(words[starts[0] + 1 :])
    return found


def _words(line: str) -> list[str]:
    """Split a shell line at its first command's end; a comment ends it."""
    try:
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
    except ValueError:  # not a shell line: an apostrophe in printed output
        return []
    ends = [i for i, word in enumerate(words) if word in ("|", "&&", ";", ">", "||")]
    return words[: ends[0]] if ends else words


def _is_prefix(word: str) -> bool:
    """Tell whether a word may stand before a command: an assignment or a wrapper."""
    return "=" in word or word in ("time", "env", "sudo", "ros2", "run", "edge_inference")


def documented(program: str) -> list[list[str]]:
    documents = [ROOT / name for name in tracked_files() if name.suffix == ".md"]
    calls = [call for file in documents for call in commands(file.read_text(), program)]
    return sorted({tuple(call): call for call in calls}.values())


def help_of(*verbs: str) -> str:
    """Return what a verb's help says; fails where there is no such verb."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code: object = main("edge-inference", [*verbs, "--help"])
        except SystemExit as end:
            code = end.code
    assert code == 0, said.getvalue()
    return said.getvalue()


def test_make_targets_and_benchmarks_exist() -> None:
    for words in documented("make"):
        command = ["make", "--dry-run", *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for name in (word.removeprefix("NAME=") for word in words if word.startswith("NAME=")):
            assert (ROOT / "benchmarks" / f"{name}.py").is_file(), words


def test_verbs_and_their_options_exist() -> None:
    calls = documented("edge-inference")
    assert len(calls) > 10
    helps: dict[tuple[str, ...], str] = {}
    for words in calls:
        verbs = tuple(itertools.takewhile(str.isidentifier, words[:2]))
        if verbs not in helps:
            helps[verbs] = help_of(*verbs)
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert {option for option in options if option not in helps[verbs]} == set(), words


def test_a_verb_that_does_not_exist_is_found() -> None:
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

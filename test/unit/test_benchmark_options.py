"""The options of ``edge-inference benchmark`` that contradict each other, or are wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
from edge_inference.cli.command_line import run
from edge_inference.cli.exit_status import UsageError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pipeline": "voice", "source": "a.mp4"}, "--pipeline voice"),
        ({"pipeline": "perception"}, "--pipeline needs --source"),
        ({"pipeline": "perception", "source": "a.mp4", "batch": 2}, "--batch 2"),
        ({"source": "/camera/image_raw"}, "--source /camera/image_raw"),
        ({"source": "0"}, "--source 0"),
        ({"against": (("auto", "auto"),)}, "--against auto:auto"),
        ({"int8_mode": "fast", "precision": "fp32"}, "--int8-mode"),
        ({"json": "/no/such/folder/a.json"}, "its folder does not exist"),
        ({"html": "/"}, "got a folder"),
        (
            {"seconds": 700.0, "rates": (5.0,), "against": (("ort", "int8"),), "timeout_s": 2799},
            "at least 2800 s",
        ),
    ],
)
def test_options_that_contradict_each_other(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        BenchmarkOptions("nanodet", **changes).check()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--model", "m", "--seconds", "0"],
        ["--model", "m", "--batch", "0"],
        ["--model", "m", "--rates", "5,x"],
        ["--model", "m", "--rates", "0"],
        ["--model", "m", "--against", "int8"],
        ["--model", "m", "--fail-above", "5%"],
        ["--compare", "a.json"],
        ["--compare", "a.json", "b.json", "--model", "m"],
        ["--compare", "a.json", "b.json", "--html", "c.html"],
        ["--compare", "a.json", "b.json", "--fail-above", "much"],
    ],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["benchmark", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("edge-inference: ")
    assert error.count("\n") == 1

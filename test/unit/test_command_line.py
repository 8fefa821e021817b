"""The command line: rejected options with their errors, and the conversion of options."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import edge_inference
from edge_inference.cli.command_line import run
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.perception.run_options import RunOptions
from edge_inference.cli.perception.source import SourceKind, source_kind
from edge_inference.core.models.model_search import find_model

ROOT = Path(__file__).parents[2]
RUN = ["run", "perception", "--source"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "command"),
        (["rnu"], 2, "'rnu'"),
        (["run"], 2, "pipeline"),
        (["run", "voice"], 2, "--source"),
        (["run", "voice", "--source", "x", "--mode", "loud"], 2, "'loud'"),
        (["run", "perception"], 2, "--source"),
        (["run", "perceptoin", "--source", "sample"], 2, "'perceptoin'"),
        ([*RUN, "x", "--frames", "0"], 2, "whole number of 1 or more"),
        ([*RUN, "x", "--frames", "ten"], 2, "'ten'"),
        ([*RUN, "x", "--confidence", "1.5"], 2, "from 0 to 1"),
        ([*RUN, "x", "--rate", "nan"], 2, "'nan'"),
        ([*RUN, "x", "--image-topic", "relative"], 2, "'relative'"),
        ([*RUN, "x", "--image-transport", "h264"], 2, "'h264'"),
        ([*RUN, "/camera/image_raw", "--rate", "3"], 2, "--rate"),
        ([*RUN, "/camera/image_raw", "--real-time"], 2, "--real-time"),
        ([*RUN, "/camera/image_raw", "--image-topic", "/a"], 2, "--image-topic"),
        ([*RUN, "x", "--image-transport", "raw"], 2, "--image-transport"),
        ([*RUN, "x", "--params-file", "no.yaml"], 2, "no.yaml"),
        ([*RUN, "no/such.mp4"], 1, "'no/such.mp4'"),
        ([*RUN, "x", "--model", "nanodte"], 1, "did you mean 'nanodet'"),
        (["models", "check"], 2, "NAME|PATH"),
        (["models", "check", "nanodte"], 1, "unknown model 'nanodte'"),
        (["models", "check", "nanodet", "--backend", "zap"], 1, "'zap'"),
    ],
)
def test_a_refusal_is_one_line(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == code
    errors = capsys.readouterr().err
    assert errors.startswith("edge-inference: ")
    assert errors.count("\n") == 1
    assert words in errors


@pytest.mark.parametrize(
    "arguments",
    [["models", "check", "{}"], [*RUN, "{}"], [*RUN, "x", "--rate", "{}"], ["{}"]],
)
@pytest.mark.parametrize("odd", ["\x1b[31mred\nedge-inference: \u202efine\udcff", "x" * 100_000])
def test_an_error_about_unprintable_text_is_readable(
    arguments: list[str], odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([each.format(odd) for each in arguments]) != 0
    errors = capsys.readouterr().err
    assert errors.endswith("\n") and errors[:-1].isprintable()
    assert len(errors) < 1_200


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-inference {edge_inference.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["run"], ["models"], ["models", "check"]])
def test_help_has_an_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--help"]) == 0
    assert (
        "edge-inference " + " ".join(arguments) in capsys.readouterr().out.partition("example")[2]
    )


def test_models_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "--json"]) == 0
    models = {item["name"]: item for item in map(json.loads, capsys.readouterr().out.splitlines())}
    nanodet = models["nanodet"]
    weights = ROOT / "models" / "nanodet" / "nanodet.onnx"
    assert nanodet["task"] == "detection"
    assert nanodet["variants"]["fp32"]["bytes"] == weights.stat().st_size


def test_a_broken_model_does_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.yaml").write_text("task: detection\n")
    assert run(["models", "--model-path", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "nanodet" in shown.out
    assert "broken" in shown.err


def test_a_check_finds_altered_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "altered"
    folder.mkdir()
    for file in (ROOT / "models" / "nanodet").iterdir():
        if file.name not in ("nanodet.onnx", "golden"):
            (folder / file.name).write_bytes(file.read_bytes())
    (folder / "golden").symlink_to(ROOT / "models" / "nanodet" / "golden")
    (folder / "nanodet.onnx").write_bytes(b"other weights")
    assert run(["models", "check", str(folder)]) == 1
    assert "sha256" in capsys.readouterr().err


def test_a_check_reads_the_build_options_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "typing"
    shutil.copytree(ROOT / "models" / "nanodet", folder)
    with (folder / "model.yaml").open("a") as file:
        file.write("\nengine:\n  optimisation_level: 9\n")
    assert run(["models", "check", str(folder)]) == 1
    assert "engine.optimisation_level: unknown key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("sample", SourceKind.FILES),
        ("images", SourceKind.FILES),
        ("./0", SourceKind.FILES),
        ("/no/such/video.mp4", SourceKind.FILES),
        ("/no-topic", SourceKind.FILES),
        ("/usr", SourceKind.FILES),
        ("0", SourceKind.DEVICE),
        ("/dev/video3", SourceKind.DEVICE),
        ("/dev/v4l/by-id/usb-camera", SourceKind.DEVICE),
        ("/camera/image_raw", SourceKind.TOPIC),
        ("/image", SourceKind.TOPIC),
        ("/image/", SourceKind.FILES),
        ("/2d/image", SourceKind.FILES),
    ],
)
def test_source_kind(source: str, kind: SourceKind) -> None:
    assert source_kind(source) is kind


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            RunOptions("clip.mp4"),
            {"source": "clip.mp4", "when_full": "wait", "pace": "as_fast_as_possible"},
        ),
        (RunOptions("sample"), {"source": "sample"}),
        (RunOptions("~/clip.mp4"), {"source": "~/clip.mp4"}),
        (RunOptions("yes"), {"source": "'yes'"}),
        (
            RunOptions("clip.mp4", rate=5.0, frames=7),
            {"when_full": "wait", "pace": "real_time", "rate": "5.0", "limit": "7"},
        ),
        (
            RunOptions("clip.mp4", real_time=True, frames=7),
            {"when_full": "drop_oldest", "pace": "real_time", "limit": None},
        ),
        (RunOptions("/dev/video0"), {"when_full": "drop_oldest", "pace": "real_time"}),
        (
            RunOptions("/front/image"),
            {"source": None, "image_topic": "/front/image", "image_transport": "raw"},
        ),
        (
            RunOptions("/front/image/compressed"),
            {"image_topic": "/front/image", "image_transport": "compressed"},
        ),
        (RunOptions("clip.mp4", image_topic="/test"), {"image_topic": "/test"}),
        (RunOptions("clip.mp4", confidence=0.25), {"confidence": "0.25"}),
        (RunOptions("clip.mp4"), {"confidence": None, "model_path": None, "image_topic": None}),
        (RunOptions("clip.mp4"), {"backend": None, "precision": None}),
        (RunOptions("clip.mp4"), {"fallback": None}),
        (RunOptions("clip.mp4", backend="ort"), {"backend": "ort", "fallback": "false"}),
        (RunOptions("clip.mp4", precision="int8"), {"precision": "int8", "fallback": "false"}),
    ],
)
def test_options_are_converted_to_pipeline_arguments(
    options: RunOptions, expected: dict[str, str | None]
) -> None:
    arguments = options.pipeline_arguments()
    assert {name: arguments.get(name) for name in expected} == expected


def test_valid_options_are_accepted() -> None:
    RunOptions("clip.mp4", rate=5.0, confidence=0.5).check(find_model("nanodet"))
    with pytest.raises(UsageError, match="topic"):
        RunOptions("/front/image", rate=5.0).check(find_model("nanodet"))

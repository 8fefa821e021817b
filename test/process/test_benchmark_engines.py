"""``edge-inference benchmark`` on real engines, without ROS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_inference.cli.benchmark import run_benchmark
from edge_inference.cli.main import main
from edge_inference.observe.benchmark.benchmark_report import BACK_TO_BACK, read_report
from edge_inference.observe.doctor.finding import Finding, FindingLevel
from small_model import write_images, write_model


@pytest.fixture(autouse=True)
def quick_preflight(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding("load", "cpu time", FindingLevel.WARNING, "90%", "others", "wait")
    monkeypatch.setattr(run_benchmark, "preflight", lambda: [finding])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "small")


def benchmark(*arguments: object) -> int:
    return main("edge-inference", ["benchmark", *map(str, arguments)])


def test_all_loads_and_reports(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"report.{name}" for name in ("json", "html", "r2b")}
    code = benchmark(
        "--model", model, "--backend", "ort", "--precision", "fp32", "--against", "ort:fp16",
        "--seconds", "0.3", "--rates", "50,100", "--saturation",
        *(word for name, file in files.items() for word in (f"--{name}", file)),
    )  # fmt: skip
    printed = capsys.readouterr()
    assert code == 0, printed.err
    report = read_report(files["json"])
    assert list(report.candidates) == ["ort fp32", "ort fp16"]
    assert report.candidates["ort fp32"]["sha256"] != report.candidates["ort fp16"]["sha256"]
    loads = [BACK_TO_BACK, "50 Hz", "100 Hz"]
    for name in report.candidates:
        for load in loads:
            assert report.result(name, load) is not None, (name, load)
        assert report.saturations[name].probes
    paced = report.result("ort fp32", "100 Hz")
    assert paced is not None
    assert paced.frames + paced.dropped == 30
    assert report.environment["source"].endswith("golden images and crops of them")
    assert report.findings[0]["value"] == "90%"
    assert "others" in printed.err  # the warning of the preflight
    assert "the engine alone" in printed.out
    assert "ort fp16 against ort fp32" in printed.out
    assert "not measured: no power sensor" in printed.out or paced.energy_j_per_frame is not None
    assert files["html"].read_text().startswith("<!DOCTYPE html>")
    content = json.loads(files["r2b"].read_text())
    assert content["BasicPerformanceMetrics.NUM_FRAMES_SENT"] > 0
    assert benchmark("--compare", files["json"], files["json"]) == 0


def test_a_candidate_that_cannot_run_leaves_the_others(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    code = benchmark(
        "--model", model, "--backend", "ort", "--precision", "fp32", "--seconds", "0.1",
        "--against", "nosuch:fp32", "ort:fp32x", "--json", file,
    )  # fmt: skip
    assert code == 1
    report = read_report(file)
    assert list(report.candidates) == ["ort fp32"]
    assert len(report.problems) == 2
    assert "nosuch:fp32 cannot be measured" in capsys.readouterr().out


def test_the_same_engine_twice_is_a_problem(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--model", model, "--backend", "ort", "--precision", "fp32", "--seconds", "0.1")
    assert benchmark(*arguments, "--against", "auto:fp32") == 1
    assert "the same engine as ort fp32" in capsys.readouterr().out


def test_a_batch_that_the_graph_refuses(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark("--model", model, "--backend", "ort", "--batch", "3") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--batch 3" in error
    assert "fixed batch of 1" in error


def test_the_source_is_hashed(model: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", 3)
    arguments = ("--model", model, "--backend", "ort", "--precision", "fp32", "--seconds", "0.1")
    hashes = []
    for number in range(2):
        file = tmp_path / f"{number}.json"
        assert benchmark(*arguments, "--source", images, "--json", file) == 0
        hashes.append(read_report(file).environment["source sha256"])
        (images / "000.png").write_bytes((images / "001.png").read_bytes())
    assert hashes[0] != hashes[1]
    files = tmp_path / "0.json", tmp_path / "1.json"
    assert benchmark("--compare", *files) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "nosuch"), "unknown model 'nosuch'"),
        (("--source", "/no/such.mp4"), "no such file or folder"),
        (("--backend", "tensort"), "unknown backend 'tensort'"),
    ],
)
def test_bad_input_is_one_sentence(
    model: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--model" in arguments else ("--model", model, *arguments)
    assert benchmark(*given) == 1
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_an_interruption_leaves_a_partial_report(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    class InterruptingMeter(run_benchmark.ResourceMeter):
        def start(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            super().start()

    monkeypatch.setattr(run_benchmark, "ResourceMeter", InterruptingMeter)
    file = tmp_path / "report.json"
    code = benchmark(
        "--model", model, "--backend", "ort", "--precision", "fp32", "--seconds", "60",
        "--rates", "5", "--saturation", "--json", file,
    )  # fmt: skip
    assert code == 128 + signal.SIGTERM
    report = read_report(file)
    assert report.interrupted
    assert [each.load for each in report.results] == [BACK_TO_BACK]
    assert "INTERRUPTED" in capsys.readouterr().out
    assert np.isfinite(report.results[0].samples_ms).all()

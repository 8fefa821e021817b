"""``edge-inference benchmark --pipeline`` as a user runs it: in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_inference.observe.benchmark.benchmark_report import read_report
from small_model import write_images, write_model

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
DEADLINE_S = 600
pytestmark = pytest.mark.usefixtures("alone")


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "benchmark", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
        check=False,
    )


def test_every_frame_from_capture_to_result(tmp_path: Path) -> None:
    model = write_model(tmp_path / "small")
    images = write_images(tmp_path / "images", 4)
    file = tmp_path / "report.json"
    done = benchmark(
        "--model", model, "--backend", "ort", "--precision", "fp32", "--against", "ort:fp16",
        "--pipeline", "perception", "--source", images, "--rates", "10,20",
        "--seconds", "1", "--json", file,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the whole pipeline" in done.stdout
    report = read_report(file)
    for name in ("ort fp32", "ort fp16"):
        for load, rate_hz in (("10 Hz", 10.0), ("20 Hz", 20.0)):
            result = report.result(name, load)
            assert result is not None
            offered = result.frames + result.dropped
            # Two windows of half a second; a busy machine may start a frame late.
            assert 1 <= offered <= rate_hz * 1.0 + 4
            assert result.offered_hz == rate_hz
            assert all(0 < sample < 60_000 for sample in result.samples_ms)
            assert result.cpu_ms_per_frame is None or result.cpu_ms_per_frame > 0
    assert report.agreements == {}  # images have no rate of their own


def test_the_highest_rate(tmp_path: Path) -> None:
    model = write_model(tmp_path / "small")
    images = write_images(tmp_path / "images", 4)
    file = tmp_path / "report.json"
    done = benchmark(
        "--model", model, "--backend", "ort", "--precision", "fp32", "--pipeline", "perception",
        "--source", images, "--saturation", "--seconds", "0.2", "--json", file,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr  # 1: so busy that no rate is sustained
    (found,) = read_report(file).saturations.values()
    assert found.probes
    sustained = [each.rate_hz for each in found.probes if each.is_sustained]
    assert found.rate_hz is None or found.rate_hz in sustained
    assert "ort fp32: " in done.stdout


def test_a_model_that_does_not_exist_is_one_sentence() -> None:
    done = benchmark(
        "--model", "nosuch", "--pipeline", "perception", "--source", "sample", "--seconds", "1"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("edge-inference: unknown model 'nosuch'")

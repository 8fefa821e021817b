"""``edge-inference validate`` as a user runs it: verdicts, reports and exit codes of real runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.runtime.latency import StageTiming
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.timing import StageTimingAdapter
from rig import DEADLINE_S, Rig

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "models" / "nanodet" / "golden"
PROGRAM = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
RUN = f"""
    pipeline: perception
    source: {GOLDEN}
    seconds: 3
    warmup_s: 0
    arguments: {{rate: 20, loop: true}}
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "validate", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Return exit code, report and errors."""
    try:
        out, errors = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert "Traceback" not in errors, errors
    assert out, errors
    return process.returncode, json.loads(out), errors


def verdicts(report: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {each["target"]: (each["verdict"], each["reason"]) for each in report["targets"]}


@contextmanager
def measuring(process: subprocess.Popen[str]) -> Iterator[None]:
    """Wait until the process measures; afterwards its errors are read on."""
    assert process.stderr is not None
    for line in process.stderr:
        if "measuring" in line:
            break
    reader = threading.Thread(target=process.stderr.read)
    reader.start()
    yield
    reader.join()


@pytest.mark.usefixtures("alone")
def test_each_verdict_of_a_real_run(tmp_path: Path) -> None:
    file, junit = tmp_path / "targets.yaml", tmp_path / "report.xml"
    file.write_text(
        f"""name: trial
scenarios:
  vision:{RUN}
    targets:
      - {{what: process_ms, where: preprocess, statistic: p50, max: 0.0001}}
      - {{what: process_ms, where: preprocess, statistic: p99.9, max: 100000}}
      - {{what: memory_mib, max: 1000000}}
      - {{what: rate_hz, where: preprocess, min: 0.01}}
      - {{what: power_w, max: 0, required: false}}
      - {{what: age_ms, where: preproces, max: 5}}
      - {{what: control_period_ms, max: 5}}
"""
    )
    code, report, _ = finish(start(str(file), "--json", "--junit", str(junit)))
    found = verdicts(report)
    assert found["preprocess process_ms p50 <= 0.0001 ms"] == ("FAIL", None)
    verdict, reason = found["preprocess process_ms p99.9 <= 100000 ms"]
    assert verdict == "INCONCLUSIVE" and str(reason).startswith("too few samples (")
    assert found["memory_mib <= 1e+06 MiB"] == ("PASS", None)
    assert found["preprocess rate_hz >= 0.01 Hz"] == ("PASS", None)
    verdict, reason = found["preproces age_ms p95 <= 5 ms"]
    assert verdict == "NOT MEASURED" and "did you mean 'preprocess'?" in str(reason)
    assert found["control_period_ms p95 <= 5 ms"][0] == "NOT MEASURED"
    assert code == report["exit_code"] == 1
    (run,) = report["runs"]
    assert (run["scenarios"], run["pipeline"], run["failure"]) == (["vision"], "perception", None)
    assert run["measured_s"] >= 3.0
    root = ElementTree.parse(junit).getroot()
    assert (root.get("tests"), root.get("failures")) == ("7", "1")
    cases = {case.get("name"): case for case in root.iter("testcase")}
    failed = cases["preprocess process_ms p50 <= 0.0001 ms"].find("failure")
    assert failed is not None and str(failed.get("message")).startswith("FAIL: ")


@pytest.mark.usefixtures("alone")
def test_a_scenario_that_cannot_start_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "targets.yaml"
    one = "    targets: [{what: memory_mib, max: 1000000}]\n"
    file.write_text(
        "name: trial\nscenarios:\n"
        f"  model:{RUN.replace('rate: 20', 'model: absent')}{one}"
        f"  source:{RUN.replace(str(GOLDEN), 'absent.mp4')}{one}"
        f"  short:{RUN.replace(', loop: true', '').replace('warmup_s: 0', 'warmup_s: 60')}{one}"
        f"  good:{RUN}{one}"
    )
    code, report, _ = finish(start(str(file), "--json", "--seconds", "1"))
    reasons = {each["scenario"]: (each["verdict"], each["reason"]) for each in report["targets"]}
    assert reasons.pop("good") == ("PASS", None)
    assert {verdict for verdict, _ in reasons.values()} == {"NOT MEASURED"}
    assert "unknown model 'absent'" in reasons["model"][1]
    assert "absent.mp4" in reasons["source"][1]
    assert "ended within the warm-up of 60 s" in reasons["short"][1]
    assert code == 3


@pytest.mark.usefixtures("alone")
def test_a_signal_ends_the_run_and_what_was_measured_is_judged(tmp_path: Path) -> None:
    file = tmp_path / "targets.yaml"
    targets = "    targets: [{what: memory_mib, max: 1000000}]\n"
    file.write_text(
        f"name: trial\nscenarios:\n  first:{RUN.replace('seconds: 3', 'seconds: 3000')}{targets}"
        f"  second:{RUN}{targets}"
    )
    process = start(str(file), "--json")
    with measuring(process):
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
    first, second = report["targets"]
    assert process.wait(DEADLINE_S) == 3
    assert first["verdict"] in ("PASS", "NOT MEASURED")  # the signal may come before a sample
    assert (second["verdict"], second["reason"]) == (
        "NOT MEASURED",
        "interrupted before it was run",
    )


@pytest.mark.usefixtures("alone")
def test_a_crash_of_the_pipeline_is_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "targets.yaml"
    file.write_text(
        f"name: trial\nscenarios:\n  a:{RUN.replace('seconds: 3', 'seconds: 3000')}"
        "    targets: [{what: memory_mib, max: 1000000}]\n"
    )
    process = start(str(file), "--json")
    with measuring(process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        assert process.stdout is not None
        report = json.loads(process.stdout.read())
    assert process.wait(DEADLINE_S) == 3
    assert report["targets"][0]["reason"] == "the process of the pipeline ended by SIGKILL"


@contextmanager
def publishing(rig: Rig) -> Iterator[None]:
    """Publish timings of a stage as a running pipeline does, 50 a second."""
    publisher = rig.call(
        lambda: Publisher(rig.container.node, StageTimingAdapter(), "/ai/stage_timing", RELIABLE)
    )
    ended = threading.Event()

    def publish() -> None:
        stamp = 0
        while not ended.wait(0.02):
            stamp += 1
            publisher.publish(StageTiming("decode", "/ai/decode", 0.5, 7.0, 9.0, stamp_ns=stamp))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_running_pipeline_is_judged(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "targets.yaml"
    file.write_text(
        """name: live
scenarios:
  a:
    targets:
      - {what: process_ms, where: decode, statistic: p50, max: 8}
      - {what: process_ms, where: decode, statistic: p50, max: 5, required: false}
      - {what: streaming_agreement, min: 0.5, required: false}
  saturated:
    live: false
    targets: [{what: rate_hz, where: decode, min: 1000}]
"""
    )
    arguments = (str(file), "--live", "--namespace", "ai", "--seconds", "3", "--json")
    with publishing(rig):
        for _ in range(10):
            code, report, _ = finish(start(*arguments))
            # On a busy machine discovery may take longer than the command waits.
            if report["runs"][0]["failure"] is None:
                break
    found = verdicts(report)
    assert found["decode process_ms p50 <= 8 ms"] == ("PASS", None)
    assert found["decode process_ms p50 <= 5 ms"] == ("FAIL", None)
    assert found["streaming_agreement >= 0.5"][0] == "NOT MEASURED"
    assert len(found) == 3  # the scenario that is not for a running pipeline is left out
    assert code == 0  # what has failed is not required
    assert report["targets"][0]["value"] == pytest.approx(7.0)


@pytest.mark.usefixtures("alone")
def test_without_a_running_pipeline_nothing_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "targets.yaml"
    file.write_text("name: x\nscenarios: {a: {targets: [{what: age_ms, max: 5}]}}\n")
    code, report, _ = finish(start(str(file), "--live", "--json"))
    (only,) = report["targets"]
    assert (only["verdict"], code) == ("NOT MEASURED", 3)
    assert "no pipeline runs" in only["reason"]

"""Reports of benchmarks: written, read, compared, refused, and as pages for people."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
from edge_inference.cli.benchmark.html_report import format_html
from edge_inference.cli.benchmark.r2b_report import format_r2b
from edge_inference.cli.benchmark.svg_plot import Line, draw_lines
from edge_inference.cli.command_line import run
from edge_inference.errors import ConfigError
from edge_inference.observe.benchmark.benchmark_environment import (
    describe_environment,
    find_differences,
    hash_source,
)
from edge_inference.observe.benchmark.benchmark_report import (
    BACK_TO_BACK,
    BenchmarkReport,
    BenchmarkResult,
    StreamingAgreement,
    read_report,
    report_as_json,
)
from edge_inference.observe.benchmark.report_comparison import (
    compare_candidates,
    compare_reports,
)
from edge_inference.observe.benchmark.saturation import RateProbe, Saturation

HOSTILE = '<script src="http://evil/">&"'


def make_result(candidate: str, load: str, scale: float = 1.0, count: int = 400) -> BenchmarkResult:
    samples = scale * np.random.default_rng(len(candidate)).gamma(50.0, 0.4, count)
    return BenchmarkResult(
        candidate, load, None if load == BACK_TO_BACK else 20.0, count, 3, 20.0, tuple(samples),
        cpu_ms_per_frame=5.0 * scale, not_measured={"energy_j_per_frame": "no power sensor"},
        sensors={"cpu/load": 0.5},
    )  # fmt: skip


def make_report(scale: float = 1.0, **changes: Any) -> BenchmarkReport:
    names = ("ort fp32", "ort int8")
    report = BenchmarkReport(
        level="engine",
        model="nanodet",
        batch=1,
        started="2026-01-02T03:04:05Z",
        seconds=10.0,
        environment={"cpu": "Cortex", "onnxruntime": "1.20", "edge_inference": "1", "source": "x"},
        candidates={name: {"sha256": "ab" * 32} for name in names},
        findings=[
            {"area": "cpu", "name": "governor", "level": "ok", "value": HOSTILE, "reason": None}
        ],
        results=tuple(
            make_result(name, load, scale) for name in names for load in (BACK_TO_BACK, "20 Hz")
        ),
        saturations={
            "ort fp32": Saturation(
                40.0 / scale, 40.5 / scale, (RateProbe(30.0, 0.0), RateProbe(50.0, 0.2))
            )
        },
        agreements={"ort fp32": StreamingAgreement(0.8, 0.7, 0.9, "F1", "the best", 200, False)},
    )
    return replace(report, **changes)


def write(file: Path, report: BenchmarkReport) -> str:
    file.write_text(json.dumps(report_as_json(report), allow_nan=False))
    return str(file)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = make_report()
    read = read_report(Path(write(tmp_path / "a.json", report)))
    rounded = tuple(
        replace(each, samples_ms=tuple(round(sample, 4) for sample in each.samples_ms))
        for each in report.results
    )
    assert read.results[0].not_measured["p99.9"] == "400 samples, needs 1000"
    kept = {"energy_j_per_frame": "no power sensor"}
    assert replace(
        read, results=tuple(replace(each, not_measured=kept) for each in read.results)
    ) == replace(report, results=rounded)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected the JSON report"),
        ("[1, 2]", "got other JSON"),
        ('{"summary": {}}', "got other JSON"),
        ('{"kind": "edge_inference benchmark", "version": 2}', "expected version 1"),
        ('{"kind": "edge_inference benchmark", "version": 1}', "damaged: no 'results'"),
        ("{" * 100_000, "expected the JSON report"),
        ('{"kind": NaN}', "expected the JSON report"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "b.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read_report(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("results", "many"),
        ("results", [{}]),
        ("environment", [1]),
        ("candidates", {"a": 3}),
        ("batch", None),
        ("saturation", {"a": {"rate_hz": "x"}}),
        ("streaming_agreement", 5),
        ("preflight", 7),
        ("seconds", True),
    ],
)
def test_a_damaged_report_is_refused(tmp_path: Path, key: str, value: object) -> None:
    content = report_as_json(make_report()) | {key: value}
    file = tmp_path / "b.json"
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="damaged"):
        read_report(file)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_report(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_report(tmp_path)


def test_equal_environments_have_no_difference() -> None:
    assert find_differences(make_report(), make_report()) == []
    other = make_report(environment={**make_report().environment, "edge_inference": "2"})
    assert find_differences(make_report(), other) == []  # what a comparison is about


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"environment": {**make_report().environment, "cpu": "Xeon"}}, "cpu: Cortex against Xeon"),
        ({"environment": {"onnxruntime": "1.20", "source": "x"}}, "cpu: Cortex against unknown"),
        ({"model": "yolo"}, "model: nanodet against yolo"),
        ({"level": "pipeline"}, "level: engine against pipeline"),
        ({"batch": 4}, "batch: 1 against 4"),
        ({"candidates": {"ort fp32": {"sha256": "cd"}}}, "ort fp32: sha256: "),
    ],
)
def test_unlike_environments_are_refused_with_the_differences(
    tmp_path: Path, changes: dict[str, Any], difference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.json", make_report())
    b = write(tmp_path / "b.json", make_report(**changes))
    assert run(["benchmark", "--compare", a, b]) == 3
    assert difference in capsys.readouterr().err
    assert run(["benchmark", "--compare", a, b, "--allow-different"]) == 0
    assert f"not alike: {difference}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("scale", "limit", "code"),
    [(1.0, "5%", 0), (1.2, "5%", 1), (1.2, "25", 0), (0.8, "5%", 0), (1.04, "5%", 0)],
)
def test_the_gate(
    tmp_path: Path, scale: float, limit: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.json", make_report())
    b = write(tmp_path / "b.json", make_report(scale))
    out = tmp_path / "comparison.json"
    arguments = ["benchmark", "--compare", a, b, "--fail-above", limit, "--json", str(out)]
    assert run(arguments) == code
    printed = capsys.readouterr()
    assert "Mann-Whitney" in printed.out
    assert ("worse by more than" in printed.err) is bool(code)
    changes = json.loads(out.read_text())["changes"]
    assert any(each["is_regression"] for each in changes) is bool(code)
    median = next(each for each in changes if each["figure"] == "p50")
    assert median["change"] == pytest.approx(scale - 1, abs=1e-4)


def test_a_gate_that_judges_nothing_does_not_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = make_report()
    few = tuple(replace(each, samples_ms=each.samples_ms[:15]) for each in report.results)
    a = write(tmp_path / "a.json", replace(report, results=few))
    assert run(["benchmark", "--compare", a, a]) == 0
    assert run(["benchmark", "--compare", a, a, "--fail-above", "5%"]) == 1
    assert "nothing was judged" in capsys.readouterr().err


def test_a_figure_that_was_not_tested_is_no_regression() -> None:
    slow = make_report(3.0)
    few = [replace(each, samples_ms=each.samples_ms[:15]) for each in slow.results]
    base = make_report()
    comparison = compare_reports(
        replace(base, saturations={}),
        replace(slow, results=tuple(few), saturations={}),
        ("a", "b"),
    )
    assert comparison.regressions(0.05) == []
    assert all("not tested" in each.note for each in comparison.changes if each.figure == "p50")


def test_saturation_is_compared_by_its_intervals() -> None:
    def rate_of(rate_hz: float, failed_hz: float | None) -> BenchmarkReport:
        return make_report(saturations={"ort fp32": Saturation(rate_hz, failed_hz, ())})

    def is_shown(b: BenchmarkReport) -> bool:
        comparison = compare_reports(rate_of(40, 41), b, ("a", "b"))
        (found,) = [each for each in comparison.changes if each.figure == "highest_rate_hz"]
        return found.is_shown

    assert is_shown(rate_of(30, 31))
    assert is_shown(rate_of(41, 42))
    assert not is_shown(rate_of(40.5, 42))
    assert not is_shown(rate_of(39.5, 40.5))


def test_nothing_in_common_is_refused() -> None:
    other = make_report(results=(make_result("trt fp16", "20 Hz"),), candidates={}, saturations={})
    with pytest.raises(ConfigError, match="that both measured"):
        compare_reports(make_report(), replace(other, agreements={}), ("a", "b"))


def test_candidates_of_one_run_are_compared_in_pairs() -> None:
    results = (make_result("a", BACK_TO_BACK), make_result("b", BACK_TO_BACK, 1.5))
    report = make_report(results=results, candidates={"a": {}, "b": {}})
    (comparison,) = compare_candidates(report)
    assert (comparison.base, comparison.other) == ("a", "b")
    assert "paired" in comparison.method
    (median,) = [each for each in comparison.changes if each.figure == "p50"]
    assert (median.low, median.high) == pytest.approx((0.5, 0.5))


def test_a_run_that_was_interrupted_says_so() -> None:
    comparison = compare_reports(make_report(), make_report(interrupted=True), ("a", "b"))
    assert any(note.startswith("b: the run was interrupted") for note in comparison.notes)


class PageChecker(HTMLParser):
    """Checks that tags close in order, and collects whatever a browser would load."""

    VOID = ("meta", "rect", "line", "polyline")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else() -> None:
    report = make_report(interrupted=True)
    page = format_html(report, compare_candidates(report))
    checker = PageChecker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert checker.links == []
    assert "script" not in checker.tags
    assert not re.search(r"url\(|@import", page)
    assert HOSTILE in checker.text  # as text only
    assert "partial report" in checker.text
    plots = re.findall(r"<svg.*?</svg>", page)
    assert len(plots) == 3
    for plot in plots:
        root = ElementTree.fromstring(plot)
        assert len(root.findall("polyline")) >= 1
        assert "ort fp32" in "".join(each.text or "" for each in root.findall("text"))


@pytest.mark.parametrize("values", [[0.0, 0.0], [1e-9, 2e-9], [3.0, 9e9]])
def test_a_plot_of_extreme_values(values: list[float]) -> None:
    root = ElementTree.fromstring(draw_lines([Line("a & b", values, values)], "x <", "y"))
    points = [
        float(part)
        for pair in root.find("polyline").get("points").split()  # type: ignore[union-attr]
        for part in pair.split(",")
    ]
    assert all(0 <= each <= 900 for each in points)


def test_a_plot_places_its_points() -> None:
    root = ElementTree.fromstring(draw_lines([Line("a", [0, 5, 10], [0, 1, 2])], "x", "y"))
    points = root.find("polyline").get("points").split()  # type: ignore[union-attr]
    (x0, y0), (x1, y1), (x2, y2) = (map(float, each.split(",")) for each in points)
    assert (x0 + x2) / 2 == pytest.approx(x1, abs=0.1)
    assert (y0 + y2) / 2 == pytest.approx(y1, abs=0.1)
    assert y2 < y0  # upwards


def test_the_layout_of_ros2_benchmark() -> None:
    content = format_r2b(make_report(), BenchmarkOptions("nanodet"))
    main = make_report().results[0]
    # The members of its enumerations, as its export writes them.
    assert content["BasicPerformanceMetrics.MEAN_LATENCY"] == pytest.approx(
        sum(main.samples_ms) / len(main.samples_ms)
    )
    assert content["BasicPerformanceMetrics.MAX_LATENCY"] == max(main.samples_ms)
    assert content["BasicPerformanceMetrics.NUM_MISSED_FRAMES"] == 3
    assert content["BasicPerformanceMetrics.NUM_FRAMES_SENT"] == 403
    assert content["BasicPerformanceMetrics.MEAN_FRAME_RATE"] == pytest.approx(20.0)
    assert content["ResourceMetrics.MEAN_OVERALL_CPU_UTILIZATION"] == pytest.approx(50.0)
    assert content["20fps"]["BasicPerformanceMetrics.MEAN_PLAYBACK_FRAME_RATE"] == 20.0
    assert content["ort int8"]["20fps"]["BasicPerformanceMetrics.NUM_FRAMES_SENT"] == 403
    metadata = content["metadata"]
    assert metadata["BenchmarkMetadata.TEST_DATETIME"] == "2026-01-02T03:04:05Z"
    assert metadata["BenchmarkMetadata.PEAK_THROUGHPUT_PREDICTION"] == 40.0
    json.dumps(content, allow_nan=False)


def test_the_hash_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    before = hash_source(str(tmp_path))
    (tmp_path / "notes.txt").write_text("no image")
    assert hash_source(str(tmp_path)) == before
    (tmp_path / "a.png").write_bytes(b"2")
    assert hash_source(str(tmp_path)) != before
    known = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
    assert hash_source(str(tmp_path / "a.png")) == known
    assert hash_source("/dev/video7").startswith("none")


def test_unreadable_reports_fail_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.json", make_report())
    assert run(["benchmark", "--compare", a, str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unknown_setting_is_left_out_of_the_environment() -> None:
    findings = [
        {"area": "cpu", "name": "governor", "level": "unknown", "value": "unknown"},
        {"area": "power", "name": "power mode", "level": "warning", "value": "15W"},
    ]
    facts = {"power power mode": "15W"}
    found = describe_environment(findings, lambda: {"cpu": "Cortex"})
    assert found.items() >= {**facts, "cpu": "Cortex"}.items()
    assert "cpu governor" not in found

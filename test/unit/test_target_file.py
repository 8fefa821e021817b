"""Files of targets: what they may say, and one clear error for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.pipeline import load_pipeline, share_folder
from edge_inference.errors import ConfigError
from edge_inference.observe.targets.measures import MEASURES
from edge_inference.observe.targets.target_file import find_targets, load_targets
from target_kit import only_scenario, read, write

ROOT = Path(__file__).parents[2]


def refusal(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_targets(file)
    return str(caught.value)


def test_a_file_in_full(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "- {what: age_ms, where: decode, statistic: p99, max: 100, confidence: 0.9}\n"
        "- {what: rate_hz, where: decode, min: 15, required: false, note: why}\n"
        "- {what: deadline_misses_percent, deadline_ms: 50, max: 1}\n"
        "- {what: queue_ms, where: /ai/decode, max: 5}",
        "pipeline: perception\nsource: video.mp4\nseconds: 60\nwarmup_s: 0\nlive: false\n"
        "arguments: {rate: 30, loop: true, model: 'yes'}",
    )
    scenario = only_scenario(file)
    assert (file.name, scenario.name, scenario.pipeline) == ("trial", "a", "perception")
    assert (scenario.source, scenario.seconds, scenario.warmup_s) == ("video.mp4", 60.0, 0.0)
    assert scenario.arguments == {"rate": "30", "loop": "true", "model": "yes"}
    assert not scenario.live
    age, rate, misses, queue = scenario.targets
    assert (age.bound, age.is_maximum, age.confidence, age.required) == (100.0, True, 0.9, True)
    assert age.label == "decode age_ms p99 <= 100 ms"
    assert (rate.bound, rate.is_maximum, rate.required, rate.note) == (15.0, False, False, "why")
    assert rate.label == "decode rate_hz >= 15 Hz"
    assert misses.label == "end to end deadline_misses_percent after 50 ms <= 1 %"
    assert queue.statistic == "p95"


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("- {what: age_ms, max: .nan}", "max: expected a number of at least 0, got nan"),
        ("- {what: age_ms, max: .inf}", "max: expected a number of at least 0, got inf"),
        ("- {what: age_ms, max: -1}", "got -1"),
        ("- {what: age_ms, max: 30 ms}", "got '30 ms'"),
        ("- {what: age_ms}", "expected one of max and min, got neither"),
        ("- {what: age_ms, max: 1, min: 1}", "got max and min; write a target for each"),
        ("- {what: latency_ms, max: 1}", "expected one of rate_hz"),
        ("- {max: 1}", "what: missing"),
        ("- {what: age_ms, max: 1, were: decode}", "unknown key; did you mean 'where'?"),
        ("- {what: rate_hz, min: 1}", "where: missing; expected a stage"),
        ("- {what: cpu_percent, where: decode, max: 1}", "leave where out"),
        ("- {what: cpu_percent, max: 101}", "expected a number from 0 to 100 % for cpu_percent"),
        ("- {what: streaming_agreement, min: 92}", "from 0 to 1 for streaming_agreement, got 92"),
        ("- {what: age_ms, statistic: p42, max: 1}", "expected one of p95, p50, p90, p99, p99.9"),
        ("- {what: cpu_percent, statistic: p95, max: 1}", "no choice of a statistic"),
        ("- {what: age_ms, confidence: 1.0, max: 1}", "from 0.5 to 0.999"),
        ("- {what: age_ms, deadline_ms: 5, max: 1}", "is for deadline_misses_percent"),
        ("- {what: deadline_misses_percent, max: 1}", "deadline_ms: missing"),
        ("- {what: age_ms, max: 1}\n- {what: age_ms, max: 1}", "duplicate target"),
        (
            "- {what: rate_hz, where: x, min: 9}\n- {what: rate_hz, where: x, max: 8}",
            "no value meets both x rate_hz >= 9 Hz and x rate_hz <= 8 Hz",
        ),
        ("- age_ms", "expected a list of mappings"),
        ("[]", "expected at least one target, got none"),
    ],
)
def test_one_clear_error(tmp_path: Path, targets: str, words: str) -> None:
    message = refusal(write(tmp_path, targets))
    assert words in message
    assert message.startswith(f"{tmp_path / 'targets.yaml'}, line ")
    assert "\n" not in message


def test_bounds_on_both_sides_and_two_limits_are_no_contradiction(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "- {what: rate_hz, where: x, min: 8}\n- {what: rate_hz, where: x, max: 9}\n"
        "- {what: rate_hz, where: x, min: 5}\n- {what: rate_hz, where: y, max: 1}",
    )
    assert len(only_scenario(file).targets) == 4


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("seconds: 0", "seconds: expected a number from 1 to 86400"),
        ("pipline: perception", "did you mean 'pipeline'?"),
        ("arguments: [1]", "expected a mapping"),
        ("arguments: {source: x}", "expected the source as a key of the scenario"),
    ],
)
def test_errors_of_a_scenario(tmp_path: Path, scenario: str, words: str) -> None:
    assert words in refusal(write(tmp_path, "- {what: age_ms, max: 1}", scenario))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("name: x", "scenarios: missing"),
        ("name: x\nscenarios: {}", "expected at least one scenario, got none"),
        ("name: x\nscenarios: {a: {}}", "targets: missing"),
        ("name: x\nscenarios: {'': {targets: [{what: age_ms, max: 1}]}}", "an empty one"),
        ("scenarios: {a: {targets: [{what: age_ms, max: 1}]}}", "name: missing"),
    ],
)
def test_errors_of_a_file(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "targets.yaml"
    file.write_text(text)
    assert words in refusal(file)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.yaml")
    assert "got a folder or a device" in refusal(tmp_path)


def test_scenarios_by_name(tmp_path: Path) -> None:
    file = read(tmp_path, "- {what: age_ms, max: 1}")
    assert file.choose(()) == file.choose(("a",)) == file.scenarios
    with pytest.raises(ConfigError, match="unknown scenario 'b'; known: a"):
        file.choose(("b",))


def test_every_measure_can_be_a_target(tmp_path: Path) -> None:
    for what, measure in MEASURES.items():
        extra = "deadline_ms: 5, " if what == "deadline_misses_percent" else ""
        where = "where: decode, " if measure.place.value.startswith("a stage") else ""
        file = read(tmp_path, f"- {{what: {what}, {where}{extra}max: 1}}")
        assert only_scenario(file).targets[0].what == what


def test_the_shipped_file_has_the_figures_of_the_specification() -> None:
    file = load_targets(find_targets("specification", share_folder()))
    assert file.file == ROOT / "config" / "targets" / "specification.yaml"
    scenarios = {each.name: each for each in file.scenarios}
    assert {"speech", "command", "planning", "end_to_end", "vision", "robot"} <= set(scenarios)
    for name, scenario in scenarios.items():
        pipeline = load_pipeline(scenario.pipeline)  # the pipeline has the arguments
        source = {"source": scenario.source} if scenario.source else {}
        assert pipeline.components({**scenario.arguments, **source}), name
    bounds = {
        (each.name, target.quantity): target.bound
        for each in file.scenarios
        for target in each.targets
        if target.required
    }
    assert bounds["speech", "speech_recognition capacity_hz"] == 15
    assert bounds["speech", "speech_recognition total_ms p95"] == 300
    assert bounds["command", "intent_parser capacity_hz"] == 25
    assert bounds["command", "intent_parser process_ms p95"] == 100
    assert bounds["planning", "planner capacity_hz"] == 20
    assert bounds["end_to_end", "end to end capacity_hz"] == 15
    assert bounds["end_to_end", "command age_ms p95"] == 500
    assert bounds["end_to_end", "control_period_ms p99"] == 50
    assert bounds["vision_saturated", "decode rate_hz"] == 30
    assert bounds["robot", "models_at_work"] == 3
    for name in ("vision", "end_to_end", "robot"):
        assert bounds[name, "cpu_percent"] == 80
        assert bounds[name, "memory_mib"] == pytest.approx(2e9 / 2**20, abs=1)
    assert bounds["vision", "gpu_percent"] == bounds["robot", "gpu_percent"] == 80

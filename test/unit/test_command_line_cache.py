"""``edge-inference engine list`` and ``clean``: the cache on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_inference.cli.command_line import run
from edge_inference.cli.sizes import parse_size
from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import Cost, Measurement, Spread
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache, key_of
from edge_inference.engines.cache.cost_cache import CostCache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def filled(cache: Path) -> Iterator[ArtifactCache]:
    """Make a cache with an engine, a derived model, and a truncated entry."""
    artifacts = ArtifactCache(cache)
    for label, name in (("a-fp16-trt", "engine.plan"), ("b-int8-ort", "model.onnx"), ("cut", "x")):
        precision = label.split("-")[1] if "-" in label else ""

        def make(folder: Path, name: str = name, precision: str = precision) -> dict[str, str]:
            (folder / name).write_bytes(bytes(1_000_000))
            return {"model": "m", "precision": precision}

        entry = artifacts.get_or_make(key_of({"label": label}), make, label=label)
    entry.path("x").write_bytes(bytes(100))
    return artifacts


def test_an_empty_cache_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "list"]) == 0
    assert "0 entries" in capsys.readouterr().out
    assert run(["engine", "list", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["engine", "clean"]) == 0
    assert "0 removed" in capsys.readouterr().out


def test_the_cache_is_listed(filled: ArtifactCache, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "list"]) == 1
    shown = capsys.readouterr()
    assert "a-fp16-trt" in shown.out
    assert "2 entries, 2.0 MB" in shown.out
    assert "cut-" in shown.err
    assert "expected 1000000 bytes, got 100" in shown.err


def test_the_cache_is_listed_in_json(
    filled: ArtifactCache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["engine", "list", "--json"]) == 1
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {entry["label"]: entry for entry in listed}
    assert {label: entry["kind"] for label, entry in found.items()} == {
        "a-fp16-trt": "engine",
        "b-int8-ort": "derived model",
    }
    assert found["a-fp16-trt"]["precision"] == "fp16"
    assert found["a-fp16-trt"]["state"] == "complete"


def test_only_verify_finds_altered_bytes(
    filled: ArtifactCache, capsys: pytest.CaptureFixture[str]
) -> None:
    (entry,) = (entry for entry in filled.entries() if "engine.plan" in entry.files)
    entry.path("engine.plan").write_bytes(b"\1" * 1_000_000)
    run(["engine", "list", "--verify", "--json"])
    states = {}
    for line in capsys.readouterr().out.splitlines():
        content = json.loads(line)
        states[content["label"]] = content["state"]
    assert states == {"a-fp16-trt": "damaged", "b-int8-ort": "intact"}


@pytest.mark.parametrize(
    ("arguments", "removed"),
    [
        ([], ["cut"]),
        (["--damaged"], ["cut"]),
        (["--limit", "1.5MB"], ["a-fp16-trt", "cut"]),
        (["--all"], ["a-fp16-trt", "b-int8-ort", "cut"]),
    ],
)
def test_the_cache_is_cleaned(
    arguments: list[str],
    removed: list[str],
    filled: ArtifactCache,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["engine", "clean", *arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert sorted(name[:-17] for name in content["removed"]) == removed
    assert content["left"] == 3 - len(removed)
    assert content["bytes"] > 1_000_000 * (len(removed) - 1)


def test_removed_entries_are_printed(
    filled: ArtifactCache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["engine", "clean", "--all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in lines[:-1]] == ["removed"] * 3
    assert "3 removed (2.0 MB), 0 left" in lines[-1]


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("2GiB", 2 << 30), ("1.5 MB", 1_500_000), ("10kib", 10240), ("7b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "GiB", "2 TiB", "1e9", "\uff12GiB"])
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="2GiB"):
        parse_size(text)


# --- measured costs ------------------------------------------------------------------------------

FP32 = find_model("efficientnet_lite0").variants["fp32"].sha256


@pytest.fixture
def measured(cache: Path) -> CostCache:
    """Add costs of the shipped model, and of an earlier version of its file."""
    costs = CostCache(cache)
    for artifact, seconds in ((FP32, 0.016), ("0" * 64, 0.5)):
        configuration = EngineConfiguration(
            "efficientnet_lite0", "fp32", "ort", artifact, execution="threads=1"
        )
        cost = Cost(
            configuration, 20, Spread(3 * seconds, 4 * seconds), Spread(seconds, 1.1 * seconds)
        )
        costs.add(Measurement("a test", 1780000000.0, (cost,)))
    return costs


def test_models_shows_measured_costs(
    measured: CostCache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "16.0 ms ort threads=1" in shown
    assert "500.0 ms" not in shown  # of another version of the file
    assert run(["models", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    costs = {model["name"]: model["measured_costs"] for model in listed}
    (cost,) = costs["efficientnet_lite0"]
    assert (cost["artifact"], cost["precision"], cost["runs"]) == (FP32, "fp32", 20)
    assert (cost["cpu_median_ms"], cost["median_ms"]) == pytest.approx((16.0, 48.0))
    assert costs["nanodet"] == []


def test_damaged_costs_are_reported_and_not_shown(
    measured: CostCache, capsys: pytest.CaptureFixture[str]
) -> None:
    measured.file.write_text("x")
    assert run(["models", "--json"]) == 0
    shown = capsys.readouterr()
    assert 'measured_costs": []' in shown.out
    assert "expected JSON" in shown.err
    assert "not used" in shown.err


def test_costs_are_removed_on_request(
    filled: ArtifactCache, measured: CostCache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["engine", "clean", "--damaged"]) == 0
    assert measured.read().measurements
    capsys.readouterr()
    assert run(["engine", "clean", "--costs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["costs_removed"] == 1
    assert measured.read().measurements == ()
    assert len(filled.entries()) == 2
    assert run(["engine", "clean", "--costs"]) == 0
    assert "measured costs removed (0 files)" in capsys.readouterr().out


def test_an_empty_cache_has_no_costs_either(
    measured: CostCache, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["engine", "clean", "--all"]) == 0
    assert measured.read().measurements == ()

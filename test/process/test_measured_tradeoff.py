"""What is measured of operating points, and the commands that show and choose them."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_inference.cli.main import main
from edge_inference.cli.optimize import run_tradeoff
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.declared_points import DeclaredPoint
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.cost_cache import CostCache
from edge_inference.errors import CancelledError, ConfigError, ModelError, SourceError
from edge_inference.observe.benchmark.resource_meter import POWER
from edge_inference.optimize import engine_timing
from edge_inference.optimize.comparison import MeasuredAccuracy
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.tradeoff.measure_tradeoff import (
    TradeoffRequest,
    dataset_images,
    measure_tradeoff,
)
from edge_inference.optimize.tradeoff.tradeoff_document import save_tradeoff
from edge_inference.optimize.tradeoff.tradeoff_point import AGREEMENT, TOP1, Tradeoff
from edge_inference.optimize.training.dataset_sources import FrameDataset
from edge_inference.optimize.training.labeled_dataset import ArrayDataset
from sensitive_model import load_sensitive, make_images
from small_model import LABELS, write_images, write_model

CPU = ("ort",)
CLASSES = [0, 1, 2, 0, 1, 1]  # the last one is wrong


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "fixed", is_sensitive=False)


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_dynamic(tmp_path_factory.mktemp("models") / "dynamic")


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


def load_dynamic(folder: Path) -> ModelDescription:
    """Write the small model with a dynamic batch, height and width; it names the brightest."""
    file = write_model(folder) / "small.onnx"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    network = onnx.load(str(file))
    for value, axes in ((network.graph.input[0], (0, 2, 3)), (network.graph.output[0], (0,))):
        for axis in axes:
            value.type.tensor_type.shape.dim[axis].dim_param = f"axis{axis}"
    onnx.save(network, str(file))
    description = folder / "model.yaml"
    after = hashlib.sha256(file.read_bytes()).hexdigest()
    description.write_text(description.read_text().replace(before, after))
    return load_model(folder)


def images() -> ImageSet:
    return ImageSet(make_images(6), "six", CLASSES)


def measured_by_name(tradeoff: Tradeoff) -> dict[str, Any]:
    return {point.name: point for point in tradeoff.points}


def test_batches_sizes_and_precisions_of_a_dynamic_graph(
    dynamic: ModelDescription, cache: ArtifactCache
) -> None:
    request = TradeoffRequest(
        [dynamic], [images()], CPU, ("fp32", "fp16"), sizes=[(24, 20)], batches=[3], runs=10
    )
    found = measure_tradeoff(request, cache)
    assert (found.accuracy_kind, found.images) == (TOP1, {"dynamic": "six"})
    points = measured_by_name(found)
    assert sorted(points) == sorted(
        f"dynamic {size} ort {precision}{batch}"
        for size in ("16x16", "24x20")
        for precision in ("fp32", "fp16")
        for batch in ("", ", batch 3")
    )
    for point in found.points:
        assert not point.problem
        assert point.accuracy == MeasuredAccuracy(5, 6)
        assert point.latency is not None and point.is_cpu_time
        assert point.image_s == point.latency.median_s / point.batch
        assert point.sparsity == pytest.approx(60 / 90)  # means and a unit matrix
    costs = [
        (cost.configuration.precision, cost.configuration.batch)
        for measurement in CostCache(cache.folder).read().measurements
        for cost in measurement.costs
    ]
    # Those of another input size would be taken for the model's own.
    assert sorted(costs) == [("fp16", 1), ("fp16", 3), ("fp32", 1), ("fp32", 3)]
    assert found.problems == ("energy was not measured: this machine shows no power sensor",)


def test_a_fixed_graph_says_what_it_lacks(fixed: ModelDescription, cache: ArtifactCache) -> None:
    request = TradeoffRequest(
        [fixed], [ImageSet(make_images(4), "four")], CPU, sizes=[(32, 32)], batches=[2], runs=10
    )
    found = measure_tradeoff(request, cache)
    assert found.accuracy_kind == AGREEMENT
    points = measured_by_name(found)
    assert "its input is [1, 3, 16, 16]; export it" in points["fixed 32x32 ort fp32"].problem
    assert "a batch of 2: " in points["fixed 16x16 ort int8, batch 2"].problem
    assert "dynamic batch axis" in points["fixed 16x16 ort int8, batch 2"].problem
    usable = [point for point in found.usable() if point.int8_mode != "fast"]
    assert [point.precision for point in usable] == ["fp32", "fp16", "int8"]
    assert usable[0].accuracy == MeasuredAccuracy(4, 4)


def test_energy_is_that_of_one_image_and_never_invented(
    dynamic: ModelDescription, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_timing, "_ENERGY_S", 0.0)  # one inference for each engine
    request = TradeoffRequest([dynamic], [images()], CPU, ("fp32",), batches=[4], runs=10)

    def meter(work: Callable[[], None]) -> float:
        work()
        return 2.0

    single, batch = measure_tradeoff(request, cache, energy_meter=meter).points
    assert (single.energy_j, batch.energy_j) == (2.0, 0.5)
    found = measure_tradeoff(request, cache, energy_meter=lambda work: None)
    assert [point.energy_j for point in found.points] == [None, None]
    assert "energy was not measured" in found.problems[0]


def test_several_models_are_timed_in_one_measurement(
    dynamic: ModelDescription, fixed: ModelDescription, cache: ArtifactCache
) -> None:
    both = [ImageSet(make_images(2), "two")] * 2
    found = measure_tradeoff(
        TradeoffRequest([dynamic, fixed], both, CPU, ("fp32",), runs=10), cache
    )
    assert [point.model for point in found.points] == ["dynamic", "fixed"]
    (measurement,) = CostCache(cache.folder).read().measurements
    assert [cost.configuration.model for cost in measurement.costs] == ["dynamic", "fixed"]
    assert "compares each model with itself" in found.problems[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "models: expected at least one"),
        ({"models": "twice"}, "two are named dynamic"),
        ({"images": []}, "expected a set for each of 1"),
        ({"images": [ImageSet([], "none")]}, "there is none for model dynamic"),
        ({"runs": 9}, "runs: expected at least 10"),
        ({"batches": [0]}, "batches: expected 1 to 256 images, got 0"),
        ({"sizes": [(0, 16)]}, "width: expected"),
        ({"precisions": ("int4",)}, "'int4' is unknown"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    dynamic: ModelDescription, changes: dict[str, Any], message: str
) -> None:
    values = {"models": [dynamic], "images": [images()], "backends": CPU, **changes}
    if values["models"] == "twice":
        values.update(models=[dynamic, dynamic], images=[images(), images()])
    with pytest.raises(ConfigError, match=message):
        measure_tradeoff(TradeoffRequest(**values))


def test_labels_for_some_models_only_are_refused(
    dynamic: ModelDescription, fixed: ModelDescription
) -> None:
    with pytest.raises(ConfigError, match="some have labels"):
        TradeoffRequest([dynamic, fixed], [images(), ImageSet(make_images(2), "two")])


@pytest.mark.parametrize("asked", [1, 5, 30])
def test_a_cancelled_measurement_ends(
    dynamic: ModelDescription, cache: ArtifactCache, asked: int
) -> None:
    count = iter(range(asked))
    with pytest.raises(CancelledError):
        measure_tradeoff(
            TradeoffRequest([dynamic], [images()], CPU),
            cache,
            cancelled=lambda: next(count, None) is None,
        )


def test_a_dataset_gives_its_images(dynamic: ModelDescription, tmp_path: Path) -> None:
    spec = InputSpec(name="image", width=16, height=16)
    found = dataset_images(FrameDataset("six", LABELS, spec, images()), dynamic)
    assert (len(found), found.class_ids) == (6, tuple(CLASSES))
    with pytest.raises(SourceError, match="labels are not those of the model"):
        dataset_images(FrameDataset("six", ("a", "b", "c"), spec, images()), dynamic)
    tensors = np.zeros((2, 3, 16, 16), np.float32)
    with pytest.raises(SourceError, match="has tensors and no images"):
        dataset_images(ArrayDataset("t", LABELS, spec, tensors, np.array([0, 1])), dynamic)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main("edge-inference", ["optimize", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    model = load_dynamic(tmp_path / "dynamic")
    saved = tmp_path / "saved.json"
    photos = write_images(tmp_path / "photos", 6)
    common = ("--backends", "ort", "--runs", 10, "--images", photos)
    code, out, _ = run(
        capsys, "tradeoff", model.folder, *common, "--batch", 1, 2, "--save", saved, "--write"
    )
    assert code == 0
    assert "accuracy is agreement with fp32 on 6 images of" in out
    assert re.search(r"fp32 batch 2 .* 100.0% of 6 ", out)
    assert f"saved: {saved}" in out
    code, out, _ = run(capsys, "recommend", saved, "--min-accuracy", 0.9, "--max-latency-ms", 50)
    assert code == 0
    assert out.startswith("dynamic 16x16 ort fp")
    bounds = ("--min-accuracy", 0.9, "--max-latency-ms", 1e-6)
    code, out, _ = run(capsys, "recommend", saved, *bounds, "--json")
    assert code == 1
    assert json.loads(out)["point"] is None
    assert json.loads(out)["best_reachable"]["fastest"]["model"] == "dynamic"
    code, out, _ = run(capsys, "tradeoff", model.folder, *common, "--precisions", "fp32", "--json")
    point, summary = map(json.loads, out.splitlines())
    assert (point["name"], point["on_front"]) == ("dynamic 16x16 ort fp32", True)
    assert summary["summary"]["accuracy_kind"] == AGREEMENT
    code, out, _ = run(
        capsys, "recommend", model.folder, *common, "--min-accuracy", 1, "--max-latency-ms", 50
    )
    assert code == 0
    assert "\ndynamic 16x16 ort fp32\n" in out


def test_the_front_of_what_a_node_serves_is_written_into_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    folder = load_dynamic(tmp_path / "mine").folder
    other = write_model(tmp_path / "other")
    before = (folder / "model.yaml").read_text()
    options = ("--backends", "ort", "--precisions", "fp32", "--runs", 10, "--write")
    assert run(capsys, "tradeoff", folder, other, *options, "--batch", 64)[0] == 0
    assert load_model(folder).operating_points == (DeclaredPoint("fp32"),)
    assert (folder / "model.yaml").read_text().startswith(before)
    assert load_model(other).operating_points == ()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tradeoff", "nowhere/model"], 1, "not a model folder"),
        (["tradeoff", "nanodet", "--over", "beauty"], 2, "--over: 'beauty' is unknown"),
        (["tradeoff", "nanodet", "--backends", "x"], 2, "--backends: 'x' is unknown"),
        (["tradeoff", "nanodet", "--size", "0x3"], 2, "expected width x height"),
        (["tradeoff", "nanodet", "--plot", "a.pdf"], 2, "ends in .png or .svg"),
        (["tradeoff", "nanodet", "--save", "/nowhere/a.json"], 1, "folder does not exist"),
        (["tradeoff", "nanodet", "--data", "digits", "--images", "x"], 2, "--data replaces"),
        (["recommend", "none.json"], 2, "none.json: no such file"),
        (["recommend", __file__], 1, "expected a saved trade-off as JSON"),
        (["recommend", __file__, "nanodet"], 2, "expected one saved trade-off alone"),
        (["recommend", "nanodet", "--min-accuracy", "92"], 2, "a number from 0 to 1"),
        (["recommend", "nanodet", "--min-accuracy", "nan"], 2, "a number from 0 to 1"),
    ],
)
def test_wrong_arguments(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    bounds = ["--max-latency-ms", "9"] if arguments[0] == "recommend" else []
    if bounds and "--min-accuracy" not in arguments:
        bounds += ["--min-accuracy", "0.9"]
    found, _, errors = run(capsys, *arguments, *bounds)
    assert (found, errors.count("\n")) == (code, 1)
    assert message in errors


def test_the_times_of_another_machine_are_refused_unless_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.json"
    save_tradeoff(Tradeoff((), TOP1, {}, 10, 1, {"cpu": "another"}, 1.0), file)
    bounds = ("--min-accuracy", 0.5, "--max-latency-ms", 9)
    code, _, errors = run(capsys, "recommend", file, *bounds)
    assert code == 1
    assert "the times are those of another machine" in errors
    code, out, _ = run(capsys, "recommend", file, *bounds, "--any-machine")
    assert (code, out.splitlines()[0]) == (1, "impossible")


def test_plot_and_page_need_nothing_else(
    dynamic: ModelDescription, cache: ArtifactCache, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    from edge_inference.cli.optimize.tradeoff_plot import draw_page, draw_tradeoff
    from edge_inference.optimize.tradeoff.pareto import pareto_front

    request = TradeoffRequest([dynamic], [images()], CPU, ("fp32",), batches=[2], runs=10)
    found = measure_tradeoff(request, cache)
    front = pareto_front(found.points)
    draw_tradeoff(found, front, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ModelError, match="cannot be written"):
        draw_tradeoff(found, front, tmp_path / "nowhere" / "a.svg")
    page = draw_page(found, front)
    assert page == draw_page(found, front)
    assert "<svg" in page and "<td>fp32 batch 2</td>" not in page and "batch 2</td>" in page
    assert not re.search(r"(src|href)=.(https?:)?//|url\((?!#)|<script|@import", page)
    empty = Tradeoff((), TOP1, {"none": "no images"}, 10, 1, {}, 1.0)
    assert "none of 0 points" in draw_page(empty, pareto_front(()))
    assert "matplotlib.pyplot" not in sys.modules  # it could open a window


def test_the_command_measures_energy_where_a_sensor_shows_the_power(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(run_tradeoff, "make_sense", lambda stack: lambda: {POWER: 8.0})
    folder = write_model(tmp_path / "mine")
    options = ("--backends", "ort", "--precisions", "fp32", "--runs", 10, "--json")
    code, out, _ = run(capsys, "tradeoff", folder, *options)
    point, summary = map(json.loads, out.splitlines())
    assert code == 0
    assert 0 < point["energy_j"] < 8.0  # one inference takes less than a second
    assert summary["summary"]["problems"] == []

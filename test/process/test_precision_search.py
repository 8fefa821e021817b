"""The search for the fastest precision: what it chooses by given times, and how it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from edge_inference.backends.cpu_instructions import CpuInstructions
from edge_inference.cli.main import main
from edge_inference.core.checksum import sha256_of
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.errors import CancelledError, ConfigError, ModelError, SourceError
from edge_inference.optimize.calibrate import calibrate_model
from edge_inference.optimize.images.image_set import ImageSet
from edge_inference.optimize.placement import precision_search
from edge_inference.optimize.placement.candidate_measurer import TimedEngine
from edge_inference.optimize.placement.placement_report import PlacementReport, SearchCost
from edge_inference.optimize.placement.placement_request import PlacementRequest
from edge_inference.optimize.placement.precision_candidate import PrecisionCandidate
from edge_inference.optimize.placement.precision_search import search_precisions
from sensitive_model import SENSITIVE, load_sensitive, make_images
from small_model import write_images, write_model

#: Milliseconds of each layer in fp32 and in int8; all operators without weights take 1.
LAYERS = {"first": (10, 5), "before": (10, 5), SENSITIVE: (10, 5), "last": (10, 5)}
IMAGES = ImageSet(make_images(9, first=50), "9 images of noise")
Times = Callable[[PrecisionCandidate], float]


class GivenTimes:
    """A timer that returns given milliseconds, and counts what it times."""

    def __init__(self, times: Times) -> None:
        self.times = times
        self.rounds: list[list[PrecisionCandidate]] = []

    def __call__(
        self, engines: Mapping[str, TimedEngine], budget_s: float
    ) -> dict[str, Sequence[float]]:
        self.rounds.append([engine.candidate for engine in engines.values()])
        return {name: [self.times(engine.candidate)] * 3 for name, engine in engines.items()}


def by_layer(layers: Mapping[str, tuple[float, float]] = LAYERS) -> Times:
    def time(candidate: PrecisionCandidate) -> float:
        if candidate.precision != "int8":
            return sum(fp32 for fp32, _ in layers.values())
        keep = candidate.derive.int8_keep_fp32
        return sum(
            fp32 if name in keep or "Conv" in keep else int8
            for name, (fp32, int8) in layers.items()
        )

    return time


def load_gated(folder: Path) -> ModelDescription:
    """Write a model with a Sigmoid and a Mul between its convolutions, and its calibration."""
    file = write_model(folder) / "small.onnx"
    network = onnx.load(file)
    first, _, *others = network.graph.node
    gate = [
        helper.make_node("Sigmoid", ["a"], ["gate"], "gate"),
        helper.make_node("Mul", ["a", "gate"], ["b"], "gated"),
    ]
    nodes = [first, *gate, *others]
    del network.graph.node[:]
    network.graph.node.extend(nodes)
    before = sha256_of(file)
    onnx.save(network, file)
    description = folder / "model.yaml"
    text = description.read_text().replace(before, sha256_of(file))
    description.write_text(text)
    calibrate_model(load_model(folder), make_images(6), "noise").save(folder / "ranges.json")
    description.write_text(f"{text}\nderive:\n  calibration: ranges.json\n")
    return load_model(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "plain", is_sensitive=False)


@pytest.fixture(scope="module")
def sensitive(tmp_path_factory: pytest.TempPathFactory) -> ModelDescription:
    return load_sensitive(tmp_path_factory.mktemp("models") / "sensitive")


def search(
    model: ModelDescription, folder: Path, times: Times, output: str = "out", **more: Any
) -> tuple[PlacementReport, GivenTimes]:
    names = ("before_search", "progress", "cancelled", "now_s")
    hooks = {name: more.pop(name) for name in names if name in more}
    timer = GivenTimes(times)
    request = PlacementRequest(model, IMAGES, folder / output, **more)
    cache = ArtifactCache(folder / "cache")
    return search_precisions(request, cache, timer=timer, **hooks), timer


def test_a_layer_that_is_slow_in_int8_stays_in_fp32(
    plain: ModelDescription, tmp_path: Path
) -> None:
    report, _ = search(plain, tmp_path, by_layer({**LAYERS, "first": (10, 30)}))
    assert report.speedup == pytest.approx(40 / 25)
    assert report.best_single.candidate.precision in ("fp32", "fp16")
    written = load_model(tmp_path / "out").derive
    assert written == report.chosen.candidate.derive
    assert "first" in written.int8_keep_fp32
    assert not {"before", SENSITIVE, "last", "Conv"}.intersection(written.int8_keep_fp32)
    assert "1.60 times as fast as" in report.summary()


def test_a_layer_that_loses_too_much_stays_in_fp32(
    sensitive: ModelDescription, tmp_path: Path
) -> None:
    report, _ = search(sensitive, tmp_path, by_layer(), min_sqnr_db=20.0)
    int8 = next(each for each in report.singles if each.candidate.name == "int8")
    assert not int8.keeps_floors
    assert any("at least 20 dB is needed" in reason for reason in int8.reasons)
    assert report.chosen.keeps_floors
    assert report.chosen.sqnr_db is not None
    assert report.chosen.sqnr_db > 20
    assert report.speedup == pytest.approx(40 / 25)
    kept = load_model(tmp_path / "out").derive.int8_keep_fp32
    assert [name for name in LAYERS if name in kept] == [SENSITIVE]


def on_a_saturating_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = CpuInstructions("avx2", saturates=True)
    monkeypatch.setattr(precision_search, "find_cpu_instructions", lambda: found)


def test_7_bit_weights_where_products_saturate(
    plain: ModelDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_saturating_cpu(monkeypatch)

    def times(candidate: PrecisionCandidate) -> float:
        if candidate.precision != "int8":
            return 10.0
        derive = candidate.derive
        reduced = {"Conv", *LAYERS}.intersection(derive.int8_reduce_range)
        whole = "Conv" in reduced or len(reduced) == len(LAYERS)
        return (5.0 if whole else 9.5) - ("GlobalAveragePool" in derive.int8_keep_fp32)

    report, _ = search(plain, tmp_path, times)
    assert [each.candidate.name for each in report.singles][2:] == [
        "int8",
        "int8 with 7-bit weights",
    ]
    assert report.best_single.candidate.name == "int8 with 7-bit weights"
    assert report.speedup == pytest.approx(10 / 4)
    written = load_model(tmp_path / "out").derive
    assert written.int8_reduce_range == ("Conv",)
    assert "GlobalAveragePool" in written.int8_keep_fp32


def test_operators_that_are_slow_in_int8_are_left_out_together(tmp_path: Path) -> None:
    model = load_gated(tmp_path / "gated")
    slow = ("Sigmoid", "Mul")

    def times(candidate: PrecisionCandidate) -> float:
        if candidate.precision != "int8":
            return 10.0
        keep = candidate.derive.int8_keep_fp32
        quick = 3.0 * ("Conv" in keep) + 0.5 * ("GlobalAveragePool" in keep)
        return 6.0 + sum(name not in keep for name in slow) + quick

    report, _ = search(model, tmp_path, times, min_agreement=0.0, min_sqnr_db=-100.0)
    assert report.chosen.candidate.name == "int8 in all but Mul, Sigmoid"
    assert load_model(tmp_path / "out").derive.int8_keep_fp32 == ("Mul", "Sigmoid")


@pytest.mark.parametrize(
    ("floor_db", "milliseconds", "chosen"),
    [
        (14.0, {"fp32": 10.0, "fp16": 10.0, "int8": 10.0}, "fp32"),
        (14.0, {"fp32": 10.0, "fp16": 9.95, "int8": 9.9}, "fp32"),
        (14.0, {"fp32": 10.0, "fp16": 8.0, "int8": 7.95}, "fp16"),
        (14.0, {"fp32": 10.0, "fp16": 8.0, "int8": 5.0}, "int8"),
        (60.0, {"fp32": 10.0, "fp16": 8.0, "int8": 5.0}, "fp16"),
        (190.0, {"fp32": 10.0, "fp16": 8.0, "int8": 5.0}, "fp32"),
    ],
)
def test_the_fastest_that_keeps_the_floors_and_the_most_accurate_of_equals(
    plain: ModelDescription,
    tmp_path: Path,
    floor_db: float,
    milliseconds: dict[str, float],
    chosen: str,
) -> None:
    report, _ = search(
        plain, tmp_path, lambda each: milliseconds[each.precision], min_sqnr_db=floor_db
    )
    assert report.chosen.candidate.precision == chosen
    assert report.chosen.keeps_floors
    assert load_model(tmp_path / "out").folder == report.folder


def test_a_choice_that_is_not_confirmed_is_dropped(plain: ModelDescription, tmp_path: Path) -> None:
    """A mixed candidate seems fast until the second comparison at the end."""
    timer: GivenTimes | None = None

    def times(candidate: PrecisionCandidate) -> float:
        if candidate.is_single:
            return {"fp32": 10.0, "fp16": 9.0, "int8": 8.0}[candidate.precision]
        assert timer is not None
        together = [one for one in timer.rounds if len(one) > 2]
        return 5.0 if len(together) <= 2 else 9.0

    timer = GivenTimes(times)
    request = PlacementRequest(plain, IMAGES, tmp_path / "out")
    report = search_precisions(request, ArtifactCache(tmp_path / "cache"), timer=timer)
    assert report.chosen.candidate.name == "int8"


def test_the_same_search_measures_nothing_twice(plain: ModelDescription, tmp_path: Path) -> None:
    first, timer = search(plain, tmp_path, by_layer())
    assert len(timer.rounds) > 4
    again, timer = search(plain, tmp_path, by_layer(), output="again")
    assert [len(one) for one in timer.rounds] == [len(timer.rounds[0])] * 4, "the end only"
    assert again.chosen == first.chosen
    assert again.reused > 4
    assert (tmp_path / "again" / "model.yaml").read_text() == (
        tmp_path / "out" / "model.yaml"
    ).read_text()
    _, timer = search(plain, tmp_path, by_layer(), output="other", min_sqnr_db=15.0)
    assert len(timer.rounds) > 4, "other floors are another search"


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
import test_precision_search as kit
from edge_inference.core.models.model import load_model

left = 4
def times(candidate):
    global left
    left -= candidate.precision != "fp32"
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return kit.by_layer()(candidate)

kit.search(load_model(Path(sys.argv[1])), Path(sys.argv[2]), times)
"""


def test_a_killed_search_goes_on_to_the_same_result(
    plain: ModelDescription, tmp_path: Path
) -> None:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(plain.folder), str(tmp_path), *paths],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert not (tmp_path / "out").exists()
    report, _ = search(plain, tmp_path, by_layer())
    assert report.reused == 3
    alone, _ = search(plain, tmp_path / "alone", by_layer())
    assert report.chosen == alone.chosen
    text = (tmp_path / "out" / "model.yaml").read_text()
    assert text == (tmp_path / "alone" / "out" / "model.yaml").read_text()
    assert {entry.name for entry in tmp_path.iterdir()} == {"out", "cache", "alone"}
    searches = tmp_path / "cache" / "precision_searches"
    assert [entry.suffix for entry in searches.iterdir()] == [".json"]
    (searches / "0123456789abcdef.engines").mkdir()  # of another search that was killed
    search(plain, tmp_path, by_layer(), output="again")
    assert [entry.suffix for entry in searches.iterdir()] == [".json"]


def test_a_damaged_ledger_is_measured_again(plain: ModelDescription, tmp_path: Path) -> None:
    search(plain, tmp_path, by_layer())
    (ledger,) = (tmp_path / "cache" / "precision_searches").glob("*.json")
    ledger.write_text(ledger.read_text().replace('"images": 9', '"images": []'))
    report, timer = search(plain, tmp_path, by_layer(), output="again")
    assert report.chosen.candidate.precision == "int8"
    assert len(timer.rounds) > 4
    ledger.write_text(ledger.read_text()[:50])
    report, _ = search(plain, tmp_path, by_layer(), output="third")
    assert report.reused == 0


def test_the_cost_is_told_first_and_its_limit_is_kept(
    plain: ModelDescription, tmp_path: Path
) -> None:
    seconds = iter(range(10_000))
    costs: list[SearchCost] = []
    fractions: list[float] = []

    def tell(cost: SearchCost) -> None:
        assert not fractions, "before the first candidate"
        costs.append(cost)

    report, _ = search(
        plain,
        tmp_path,
        by_layer(),
        max_seconds=1.0,
        now_s=lambda: float(next(seconds)),
        before_search=tell,
        progress=lambda phase, fraction: None if fraction is None else fractions.append(fraction),
    )
    assert fractions == sorted(fractions)
    assert costs[0].candidates > 4
    assert "at most 1 s" in costs[0].summary()
    found = {each.candidate.name for each in report.candidates}
    # A CPU without VNNI has one precision more.
    assert found - {"int8 with 7-bit weights"} == {"fp32", "fp16", "int8"}
    assert "ended after max_seconds" in report.notes[0]


def test_a_model_without_ranges_is_calibrated(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "small"))
    images = write_images(tmp_path / "images", 6)
    report, _ = search(
        model, tmp_path, lambda each: 10.0 - (each.precision == "int8"), calibration=str(images)
    )
    assert report.chosen.candidate.precision == "int8"
    written = load_model(tmp_path / "out")
    assert written.calibration is not None
    assert Calibration.load(written.calibration).image_count == 6
    assert model.calibration is None


def test_what_cannot_be_searched_is_refused(plain: ModelDescription, tmp_path: Path) -> None:
    uncalibrated = load_model(write_model(tmp_path / "small"))
    with pytest.raises(ModelError, match="int8 needs a calibration, and it has none"):
        search(uncalibrated, tmp_path, by_layer())
    empty = PlacementRequest(plain, ImageSet([], "nothing"), tmp_path / "out")
    with pytest.raises(SourceError, match="at least one image"):
        search_precisions(empty)
    with pytest.raises(ConfigError, match="it exists already"):
        search(plain, tmp_path, by_layer(), output="small")
    with pytest.raises(ConfigError, match="min_agreement: expected 0 to 1"):
        search(plain, tmp_path, by_layer(), min_agreement=95.0)
    with pytest.raises(ConfigError, match="backend: 'null' cannot be searched for"):
        search(plain, tmp_path, by_layer(), backend="null")
    rounds: list[int] = []

    def cancelled() -> bool:
        rounds.append(1)
        return len(rounds) > 15

    with pytest.raises(CancelledError):
        search(plain, tmp_path, by_layer(), cancelled=cancelled)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "small"]


def test_the_command(
    plain: ModelDescription, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "out"
    command = ["optimize", "mixed-precision", str(plain.folder), "--output", str(output)]
    assert main("edge-inference", [*command, "--max-seconds", "5"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("cost: about ") < printed.index("times fp32")
    assert f"Serve {output} with precision " in printed
    assert load_model(output).variants.keys() == plain.variants.keys()
    assert main("edge-inference", command) == 2
    assert "it exists already" in capsys.readouterr().err

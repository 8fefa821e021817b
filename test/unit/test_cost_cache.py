"""The file of measured costs: reading, damage, limits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_inference.core.engine_configuration import EngineConfiguration
from edge_inference.core.measured_costs import Cost, MeasuredCosts, Measurement, Spread
from edge_inference.engines.cache import cache_entry, cache_lock, cost_cache, cost_document
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.cost_cache import MAX_COSTS, MAX_FILES, CostCache
from edge_inference.engines.cache.environment import machine_identity
from edge_inference.errors import CacheError

HERE = {"cpu": "A Processor", "onnxruntime": "1.2"}
FP32 = EngineConfiguration("net", "fp32", "ort", "a" * 64, execution="threads=1")
INT8 = replace(FP32, precision="int8", artifact="c" * 64, batch=4)
PAIR = Measurement(
    "test",
    1780000000.5,
    (
        Cost(FP32, 20, Spread(0.04, 0.05), Spread(0.039, 0.041)),
        Cost(INT8, 30, Spread(0.02, 0.03)),
    ),
)


@pytest.fixture
def cache(tmp_path: Path) -> CostCache:
    return CostCache(tmp_path, HERE)


def complaints(cache: CostCache) -> list[str]:
    """Read a file without usable costs, and return the reports."""
    reports: list[str] = []
    assert cache.read(reports.append) == MeasuredCosts()
    return reports


def test_a_new_cache_has_no_costs_and_no_file(cache: CostCache, tmp_path: Path) -> None:
    assert complaints(cache) == []
    assert list(tmp_path.iterdir()) == []


def test_costs_are_read_back_by_another_instance(cache: CostCache, tmp_path: Path) -> None:
    cache.add(PAIR)
    assert CostCache(tmp_path, dict(reversed(HERE.items()))).read().measurements == (PAIR,)
    assert [file.name for file in cache.file.parent.iterdir()] == [cache.file.name]


@pytest.mark.parametrize(
    "machine",
    [{**HERE, "onnxruntime": "1.3"}, {**HERE, "cpu": "Another"}, {**HERE, "tensorrt": "10"}],
)
def test_another_machine_or_version_is_unknown(
    machine: dict[str, str], cache: CostCache, tmp_path: Path
) -> None:
    cache.add(PAIR)
    other = CostCache(tmp_path, machine)
    assert complaints(other) == []
    other.add(replace(PAIR, by="the other one"))
    assert cache.read().measurements == (PAIR,)


def test_costs_are_not_entries_of_the_artifact_cache(cache: CostCache, tmp_path: Path) -> None:
    cache.add(PAIR)
    artifacts = ArtifactCache(tmp_path)
    assert (artifacts.entries(), artifacts.faults()) == ([], [])
    assert artifacts.clean(0) == []
    assert cache.read().measurements == (PAIR,)


def _altered(content: dict[str, Any]) -> str:
    """Return a document with a valid checksum."""
    checksum = cost_document._checksum(content)
    document = {"format": cost_document.FORMAT, "checksum": checksum, "content": content}
    return json.dumps(document)


def _with(change: Callable[[dict[str, Any]], object]) -> str:
    content = json.loads(cost_document.write(MeasuredCosts((PAIR,)), HERE))["content"]
    change(content)
    return _altered(content)


def _row(content: dict[str, Any]) -> dict[str, Any]:
    return content["measurements"][0]["costs"][0]


WHOLE = cost_document.write(MeasuredCosts((PAIR,)), HERE)
DAMAGED = {
    "empty": ("", "expected JSON"),
    "cut off": (WHOLE[:-30], "expected JSON"),
    "not JSON": (WHOLE.replace("0.04", "NaN", 1), "expected JSON"),
    "a list": ("[1]", "format 2, got None"),
    "a later format": (WHOLE.replace('"format": 2', '"format": 3'), "format 2, got 3"),
    "altered": (WHOLE.replace("0.04", "0.01", 1), "altered"),
    "nothing in it": (json.dumps({"format": 2}), "altered"),
    "another machine": (cost_document.write(MeasuredCosts(), {"cpu": "B"}), "another machine"),
    "content is a list": (_altered([]), "another machine"),  # type: ignore[arg-type]
    "no measurements": (_with(lambda c: c.pop("measurements")), "measurements: expected a list"),
    "no costs": (_with(lambda c: c["measurements"][0].pop("costs")), "a measurement: expected"),
    "time as text": (_with(lambda c: c["measurements"][0].update(taken_s="now")), "taken_s"),
    "a number as name": (_with(lambda c: c["measurements"][0].update(by=1)), "by: expected"),
    "no time": (_with(lambda c: _row(c).update(wall_median_s=0.0)), "wall_median_s: expected"),
    "less than none": (_with(lambda c: _row(c).update(cpu_median_s=-1.0)), "cpu_median_s"),
    "a huge time": (_with(lambda c: _row(c).update(wall_p95_s=1e300)), "wall_p95_s"),
    "no wall time": (_with(lambda c: _row(c).update(wall_p95_s=None)), "wall_p95_s"),
    "few runs": (_with(lambda c: _row(c).update(runs=1)), "runs"),
    "no batch": (_with(lambda c: _row(c).update(batch=0)), "batch"),
    "true as batch": (_with(lambda c: _row(c).update(batch=True)), "batch"),
    "unknown precision": (_with(lambda c: _row(c).update(precision="fp8")), "precision"),
    "no digest": (_with(lambda c: _row(c).update(artifact="abc")), "artifact"),
    "a long name": (_with(lambda c: _row(c).update(model="x" * 301)), "model"),
    "one thing more": (_with(lambda c: _row(c).update(joules=1.0)), "a cost: expected"),
    "a text as a row": (_with(lambda c: c["measurements"][0].update(costs=["x"])), "a cost"),
    "other bytes": ("\udcff", "invalid start byte"),
    "far too long": (WHOLE + " " * (1 << 20), "at most 1048576 bytes"),
    "deep": ("[" * 100_000, "expected JSON"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_or_foreign_file_is_renamed_and_not_used(name: str, cache: CostCache) -> None:
    text, expected = DAMAGED[name]
    content = text.encode("utf-8", errors="surrogateescape")
    cache.file.parent.mkdir(parents=True)
    cache.file.write_bytes(content)
    (sentence,) = complaints(cache)
    assert str(cache.file) in sentence
    assert expected in sentence
    assert "not used" in sentence
    reports: list[str] = []
    cache.add(PAIR, reports.append)
    assert reports == [sentence]
    assert cache.read().measurements == (PAIR,)
    assert cache.file.with_suffix(".damaged").read_bytes() == content


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_only_regular_files_are_read(kind: str, cache: CostCache, tmp_path: Path) -> None:
    cache.file.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(cache.file)
    elif kind == "folder":
        cache.file.mkdir()
    else:
        (tmp_path / "another").write_text(WHOLE)
        cache.file.symlink_to(tmp_path / "another")
    (sentence,) = complaints(cache)
    assert "not used" in sentence
    cache.add(PAIR)
    assert cache.read().measurements == (PAIR,)


def test_the_number_of_costs_is_limited(cache: CostCache) -> None:
    many = tuple(
        Cost(replace(FP32, artifact=f"{number:064x}"), 20, Spread(0.01, 0.02))
        for number in range(MAX_COSTS // 2)
    )
    for _ in range(2):
        cache.add(replace(PAIR, costs=many))
    cache.add(replace(PAIR, costs=many[1:] + PAIR.costs))
    cache.add(PAIR)
    kept = cache.read().measurements
    assert sum(len(each.costs) for each in kept) <= MAX_COSTS
    assert kept[-1] == PAIR
    assert cache.file.stat().st_size < 300_000


def test_the_oldest_files_of_other_machines_are_removed(tmp_path: Path) -> None:
    stores = [CostCache(tmp_path, {"cpu": str(number)}) for number in range(MAX_FILES + 3)]
    for age, cache in enumerate(reversed(stores)):
        cache.add(PAIR)
        os.utime(cache.file, (age, age))
    stores[-1].add(PAIR)
    there = [cache.file.exists() for cache in stores]
    assert there.count(True) == MAX_FILES
    assert there[-1]
    assert not any(there[-4:-1])


def test_leftovers_of_a_killed_process_are_removed(cache: CostCache) -> None:
    cache.add(PAIR)
    left = cache.file.parent / f".{cache.file.name}.1234abcd"
    left.write_text("half")
    other = cache.file.parent / ".of-another-machine.json.1234abcd"
    other.write_text("half")
    cache.add(PAIR)
    assert not left.exists()
    assert other.exists()


def test_a_failed_write_keeps_the_old_file(
    cache: CostCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.add(PAIR)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_entry, "flush", full)
    with pytest.raises(CacheError, match="cannot be written"):
        cache.add(replace(PAIR, by="another"))
    assert cache.read().measurements == (PAIR,)
    assert [file.name for file in cache.file.parent.iterdir()] == [cache.file.name]


def test_the_wait_for_another_writer_ends(
    cache: CostCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_cache, "_LOCK_TIMEOUT_S", 0.0)
    cache.add(PAIR)
    with (
        cache_lock.exclusive_lock(cache._lock_file, lambda: False),
        pytest.raises(CacheError, match="waiting for another process"),
    ):
        cache.add(replace(PAIR, by="another"))
    assert cache.read().measurements == (PAIR,)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(CacheError, match="EDGE_INFERENCE_CACHE"):
        CostCache(tmp_path / "cache", HERE).add(PAIR)


CPUINFO = """\
processor\t: 0
cpu family\t: 25
model\t\t: 1
model name\t: A Processor
cpu MHz\t\t: 2445.430
flags\t\t: fpu sse2 avx2 avx512_vnni smep fma bmi1

processor\t: 1
cpu family\t: 25
model\t\t: 1
model name\t: A Processor
cpu MHz\t\t: 1800.001
flags\t\t: fpu sse2 avx2 avx512_vnni smep fma bmi1
"""
ARM = """\
processor\t: 0
Features\t: fp asimd evtstrm asimddp i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""


def test_a_machine_is_its_cpu_and_libraries(tmp_path: Path) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(CPUINFO)
    found = machine_identity(cpu)
    assert found["cpu"] == "A Processor"
    assert found["instructions"] == "avx2 avx512_vnni fma sse2"
    assert found["kind"] == "cpu family 25, model 1"
    assert "python" not in found
    cpu.write_text(CPUINFO.replace("1800.001", "2000.5"))
    assert machine_identity(cpu) == found
    cpu.write_text(CPUINFO.replace("avx512_vnni ", ""))
    assert machine_identity(cpu) != found
    cpu.write_text(ARM)
    assert machine_identity(cpu)["instructions"] == "asimd asimddp i8mm"
    assert machine_identity(cpu)["kind"] == "CPU implementer 0x41, CPU part 0xd42"

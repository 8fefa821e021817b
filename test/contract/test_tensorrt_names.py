"""Every name of TensorRT that the code uses is in TensorRT 8.6 to 11 and in TensorRT-RTX."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

import gpu_kit
from tensorrt_names import RELEASES, RTX, Names, names_of
from tensorrt_uses import CLASSES, Use, misnamed_in, uses_in

PACKAGE = gpu_kit.ROOT / "edge_inference"
ROOMS = (PACKAGE / "backends" / "trt", PACKAGE / "engines")
# These modules work on ONNX files, whose parts have similar names.
ON_ONNX = PACKAGE / "engines" / "precision"
# A module that uses TensorRT's objects mentions it, in an import or as a module.
TENSORRT = re.compile(r"\btrt\b")
# Own objects with the name of a TensorRT object and without a declaration at their use.
NOT_TENSORRT = {
    ("engines/build/model_options.py", "ICudaEngine.read"),
}


@functools.cache
def sources() -> list[Path]:
    files = sorted(file for room in ROOMS for file in room.rglob("*.py"))
    return [
        file for file in files if ON_ONNX not in file.parents and TENSORRT.search(file.read_text())
    ]


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


@functools.cache
def uses() -> list[tuple[str, Use]]:
    """Return every use with its file."""
    found = [(name_of(file), use) for file in sources() for use in uses_in(file.read_text())]
    return [(file, use) for file, use in found if (file, str(use)) not in NOT_TENSORRT]


def absent(text: str, names: Names) -> list[str]:
    """Return the names that a module's source needs and a release lacks."""
    needed = (use for use in uses_in(text) if not use.is_asked)
    return [str(use) for use in needed if not names.has(use.owner, use.member)]


@pytest.mark.parametrize("release", RELEASES)
def test_every_name_is_in_every_release(release: str) -> None:
    names = names_of(release)
    missing = [
        f"{file}:{use.line}: {use}"
        for file, use in uses()
        if not use.is_asked and not names.has(use.owner, use.member)
    ]
    assert missing == []


def test_every_capability_is_in_some_release() -> None:
    """A capability that no release has is a typing error."""
    known = [names_of(release) for release in RELEASES if not gpu_kit.missing(part_of(release))]
    if len(known) < len(RELEASES):
        pytest.skip("not every release is in the kit")
    unknown = [
        f"{file}:{use.line}: {use}"
        for file, use in uses()
        if use.is_asked and not any(names.has(use.owner, use.member) for names in known)
    ]
    assert unknown == []


def part_of(release: str) -> str:
    return "tensorrt_rtx" if release == RTX else f"tensorrt-{release}"


def test_variables_have_the_names_of_tensorrt_objects() -> None:
    found = {name_of(file): misnamed_in(file.read_text()) for file in sources()}
    assert len(found) > 10
    assert {name: misnamed for name, misnamed in found.items() if misnamed} == {}


def test_the_scan_reads_the_code() -> None:
    found = {str(use) for _, use in uses() if not use.is_asked}
    assert len(found) > 50
    assert {
        "trt.Builder",
        "BuilderFlag.TF32",
        "Builder.build_serialized_network",
        "IExecutionContext.execute_async_v3",
        "Runtime.deserialize_cuda_engine",
    } <= found


def test_exceptions_are_still_needed() -> None:
    found = {(name_of(f), str(use)) for f in sources() for use in uses_in(f.read_text())}
    assert found >= NOT_TENSORRT


def test_precision_does_not_import_tensorrt() -> None:
    for file in ON_ONNX.rglob("*.py"):
        found = [use for use in uses_in(file.read_text()) if use.owner not in CLASSES.values()]
        assert found == [], file


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_has_its_version(release: str) -> None:
    names = names_of(release)
    assert names.version.startswith("1." if release == RTX else release)
    assert all(names.members[name] for name in CLASSES.values())


@pytest.mark.parametrize(
    ("text", "release", "found"),
    [
        ("config.max_workspace_size = 1", "10.3.0", ["IBuilderConfig.max_workspace_size"]),
        ("config.max_workspace_size = 1", "8.6.1", []),
        ("self._context.execute_async_v2([])", "10.3.0", ["IExecutionContext.execute_async_v2"]),
        ("flag = trt.BuilderFlag.FP16", "11.4.0.106", ["BuilderFlag.FP16"]),
        ("flag = trt.BuilderFlag.FP16", "10.13.3.9", []),
        ("vendor.trt.IRuntimeCache", "11.4.0.106", ["trt.IRuntimeCache"]),
        ("trt.volume([1])", RTX, []),
        ("builder.no_such_thing", RTX, ["Builder.no_such_thing"]),
    ],
)
def test_an_unknown_name_is_found(text: str, release: str, found: list[str]) -> None:
    assert absent(text, names_of(release)) == found

"""The tests' own extension package is visible while its fixture is active, and only then."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

import installed_extension
from edge_inference.core import decoders
from edge_inference.core.decoders import DecodeContext
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.results import Detections
from edge_inference.core.settings import build
from edge_inference.errors import PluginError, TensorError


def test_this_process_finds_it(extension_package: None) -> None:
    assert distribution("my_robot").version == "1.0.0"
    assert importlib.util.find_spec("my_robot") is not None


def test_nothing_of_it_is_left_afterwards(tmp_path: Path) -> None:
    with installed_extension.extension_package_installed(tmp_path):
        import my_robot

        assert sys.modules["my_robot"] is my_robot
    assert "my_robot" not in sys.modules
    assert importlib.util.find_spec("my_robot") is None
    with pytest.raises(PackageNotFoundError):
        distribution("my_robot")


def test_its_decoder_is_found_by_name(extension_package: None) -> None:
    entry = decoders.find("fomo")
    assert entry.function.__module__ == "my_robot.fomo"
    assert "fomo" in decoders.names()
    assert decoders.find("my_robot.fomo:decode") is entry
    assert decoders.DECODERS.problems() == ()


def test_its_decoder_is_unknown_without_the_package() -> None:
    with pytest.raises(PluginError, match="unknown decoder 'fomo'; known: "):
        decoders.find("fomo")


def decode(grid: np.ndarray) -> Detections:
    context = DecodeContext(("apple", "pear"), Geometry(160, 80, 0.5, 0.5), 80, 40, "fruit")
    entry = decoders.find("fomo")
    result = entry.function({"grid": grid}, context, build(entry.settings_class, {}))
    assert isinstance(result, Detections)
    return result


def test_a_cell_with_an_object_becomes_a_box_in_source_pixels(extension_package: None) -> None:
    grid = np.zeros((1, 2, 4, 3), np.float32)
    grid[..., 0] = 1.0
    assert len(decode(grid)) == 0
    grid[0, 1, 2] = [0.1, 0.2, 0.7]
    grid[0, 0, 0] = [0.0, 0.9, 0.1]
    found = decode(grid)
    assert found.boxes.tolist() == [[0, 0, 40, 40], [80, 40, 120, 80]]
    assert found.class_ids.tolist() == [0, 1]
    np.testing.assert_allclose(found.scores, [0.9, 0.7])


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 2, 4), "expected shape"),
        ((1, 2, 4, 2), "expected 2 classes"),
        ((1, 0, 0, 1), "classes"),
    ],
)
def test_another_shape_is_refused(
    extension_package: None, shape: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(TensorError, match=reason):
        decode(np.zeros(shape, np.float32))

"""Labeled images from a package, a folder and a torch Dataset, and what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.errors import ConfigError, SourceError
from edge_inference.optimize.training import dataset_sources, torch_items
from edge_inference.optimize.training.dataset_sources import (
    check_labels,
    open_dataset,
    pick_per_class,
)
from edge_inference.optimize.training.labeled_dataset import ArrayDataset

SPEC = InputSpec(name="image", width=12, height=8, color="RGB", mean=(0.0,), std=(255.0,))
ITEMS = """
import numpy as np
import torch

class Squares(torch.utils.data.Dataset):
    classes = ("dark", "light")

    def __len__(self):
        return 10

    def __getitem__(self, index):
        if not 0 <= index < 10:
            raise IndexError(index)
        return torch.full((3, 6, 4), (index % 2) * 0.5 + 0.25), index % 2

def squares():
    return Squares()

def item(*shape, value=0.5, kind=torch.float32):
    return torch.full(shape, value, dtype=kind)

def broken():
    raise OSError("the disk is gone")

def quits():
    raise SystemExit(3)

class NoLength(Squares):
    def __len__(self):
        return -1

class OddAttributes(Squares):
    targets, classes = 5, 7

empty = []
one_class = [(item(1, 4, 4), 3), (item(1, 4, 4), 3)]
other_shape = [(item(1, 4, 4), 0), (item(1, 4, 5), 1)]
whole_numbers = [(item(1, 4, 4, value=1, kind=torch.uint8), 0)]
no_pair = [item(1, 4, 4)]
no_class = [(item(1, 4, 4), 0.5)]
negative = [(item(1, 4, 4), -1)]
huge_class = [(item(1, 4, 4), 10**30)]
not_finite = [(item(1, 4, 4), 0), (item(1, 4, 4, value=float("nan")), 1)]
normalized = [(item(1, 4, 4), 0), (item(1, 4, 4, value=-2), 1)]

class Changing(Squares):
    reads = 0

    def __getitem__(self, index):
        Changing.reads += 1
        return super().__getitem__(index)[0], (index + Changing.reads // 15) % 2

class Extra(Squares):
    def __getitem__(self, index):
        image, _ = super().__getitem__(index)
        return image, index % 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_items.py").write_text(ITEMS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_items", raising=False)
    return "own_items"


def write_folder(folder: Path, **counts: int) -> Path:
    """Write images of one brightness each: 10 for the first of the first class, then 11 …"""
    value = 10
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            image = np.full((16, 24, 3), value, np.uint8)
            cv2.imwrite(str(folder / label / f"{number}.png"), image)
            value += 1
    return folder


def test_digits_in_the_users_format_come_with_their_source() -> None:
    dataset = open_dataset("digits", SPEC, limit=25)
    images, class_ids = dataset.load(np.arange(len(dataset)))
    assert images.shape == (25, 3, 8, 12) and images.dtype == np.float32
    assert 0.9 < images.max() <= 1 and images.min() == 0
    assert sorted(np.bincount(class_ids)) == [2] * 5 + [3] * 5
    frame = dataset.frame(3)
    assert frame is not None and (frame.width, frame.height) == (28, 28)
    assert open_dataset("digits", None, limit=10).input.channels == 1


def test_a_folder_is_read_as_on_the_robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path, cat=3, ant=2)
    (folder / "cat" / "1.png").write_bytes(b"no image")
    dataset = open_dataset(str(folder), SPEC)
    assert dataset.labels == ("ant", "cat")
    assert dataset.class_ids.tolist() == [0, 0, 1, 1]
    assert len(dataset.skipped) == 1 and "1.png" in dataset.skipped[0]
    images, _ = dataset.load([0, 1, 2, 3])
    np.testing.assert_allclose(images[:, 0, 0, 0] * 255, [13, 14, 10, 12], atol=1e-4)
    monkeypatch.setattr(dataset_sources, "CACHE_BYTES", 0)
    uncached = open_dataset(str(folder), SPEC)
    np.testing.assert_array_equal(uncached.load([3, 0])[0], images[[3, 0]])
    (folder / "ant" / "0.png").unlink()
    np.testing.assert_array_equal(dataset.load([0])[0], images[:1])
    with pytest.raises(SourceError, match=r"0\.png"):
        uncached.load([0])


def test_folders_that_are_no_labeled_images(tmp_path: Path) -> None:
    for name, expected in (
        ("empty", "it is empty; expected one subfolder for each class"),
        ("flat", "it has no subfolder"),
        ("one", "expected at least two classes, got only ant"),
        ("gap", "bee has no images"),
        ("nested", "to use train alone, give .*nested/train"),
        ("damaged", "no image of the class 'bee' can be read; the first error: .*0.png"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        if name == "flat":
            (folder / "a.png").write_bytes(b"")
        if name in ("one", "gap", "damaged"):
            write_folder(folder, ant=2)
        if name == "gap":
            (folder / "bee").mkdir()
        if name == "nested":
            write_folder(folder / "train", ant=1, bee=1)
        if name == "damaged":
            (folder / "bee").mkdir()
            (folder / "bee" / "0.png").write_bytes(b"no image")
        with pytest.raises(SourceError, match=expected):
            open_dataset(str(folder), SPEC)
    with pytest.raises(ConfigError, match="--input width"):
        open_dataset(str(write_folder(tmp_path / "good", ant=1, bee=1)), None)
    with pytest.raises(SourceError, match=r"no such folder; expected .* digits"):
        open_dataset("digit", SPEC)
    with pytest.raises(ConfigError, match=r"input\.layout: expected NCHW.*got NHWC"):
        open_dataset("digits", InputSpec(name="image", width=8, height=8, layout="NHWC"))


def test_a_torch_dataset_by_its_name(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Squares", "squares"):
        dataset = open_dataset(f"{module}:{name}", None, limit=4)
        assert dataset.labels == ("dark", "light")
        assert (dataset.input.width, dataset.input.height) == (4, 6)
        assert dataset.class_ids.tolist() == [0, 1, 0, 1]
        np.testing.assert_array_equal(dataset.load([1])[0], np.full((1, 3, 6, 4), 0.75))
    cached = dataset
    monkeypatch.setattr(torch_items, "CACHED_ITEM_BYTES", 0)
    read_each_time = open_dataset(f"{module}:squares", None, limit=4)
    assert type(read_each_time) is not type(cached)
    assert read_each_time.digest() == cached.digest()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("empty", "the Dataset is empty"),
        ("one_class", "at least two classes, got only class 3"),
        ("other_shape", r"item 1: expected an image of the shape \[1, 4, 4\], got \[1, 4, 5\]"),
        ("whole_numbers", r"item 0: expected a float32 image .* got uint8 \[1, 4, 4\]"),
        ("no_pair", r"item 0: expected \(image, class\), got Tensor"),
        ("no_class", "item 0: expected the number of its class, got 0.5"),
        ("negative", "item 0: expected a class of 0 to 1048575, got -1"),
        ("huge_class", "item 0: expected a class of 0 to 1048575, got 1000"),
        ("NoLength", "its length cannot be read: ValueError"),
        ("quits", "failed: SystemExit: 3"),
        ("not_finite", "item 1: expected finite values"),
        ("normalized", "item 1: expected values of 0 to 1, .* got -2 to -2; give mean and std"),
        ("Extra", "item 2: expected a class of 0 to 1, since classes has 2 names, got 2"),
        ("Changing", "item 3: its class was 1, and is 0 now; expected the same item each time"),
        ("broken", "failed: OSError: the disk is gone"),
        ("np", "expected a torch Dataset or a function that returns one, got module"),
    ],
)
def test_items_that_do_not_fit_are_named(module: str, name: str, expected: str) -> None:
    with pytest.raises(SourceError, match=expected):
        open_dataset(f"{module}:{name}", None)


def test_names_that_cannot_be_imported(module: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"own_items has no 'missing'; it has .*Squares"):
        open_dataset(f"{module}:missing", None)
    (tmp_path / "string.py").write_text("data = []")
    with pytest.raises(ConfigError, match=r"there is another module string .*rename the file"):
        open_dataset(f"{tmp_path / 'string.py'}:data", None)


def test_attributes_of_another_kind_are_not_read(module: str) -> None:
    assert open_dataset(f"{module}:OddAttributes", None).labels == ("0", "1")


def test_a_single_changed_image_changes_the_digest() -> None:
    images = np.zeros((200, 1, 2, 2), np.float32)
    digests = set()
    for changed in (0, 1, 150):
        images[changed] = 0.5
        given = ArrayDataset("given", ("a", "b"), SPEC, images.copy(), np.arange(200) % 2)
        digests.add(given.digest())
    assert len(digests) == 3


def test_labels_of_another_model(module: str) -> None:
    dataset = open_dataset(f"{module}:squares", None)
    check_labels(dataset, ())
    check_labels(dataset, ("dark", "light"))
    with pytest.raises(SourceError, match="another order: class 0 is light for the model, dark"):
        check_labels(dataset, ("light", "dark"))
    with pytest.raises(SourceError, match="the dataset lacks gray; the model lacks light"):
        check_labels(dataset, ("dark", "gray"))


def test_a_small_class_leaves_its_share_to_the_others() -> None:
    class_ids = np.array([0] * 2 + [1] * 20 + [2] * 20)
    picked = pick_per_class(class_ids, 12)
    assert np.bincount(class_ids[picked]).tolist() == [2, 5, 5]
    assert picked[2] == 2 and picked[6] == 21  # spread over the whole class
    with pytest.raises(ConfigError, match="at least 3, one of each class, got 2"):
        pick_per_class(class_ids, 2)

"""Images to evaluate a model on, with and without labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.models.image_choice import choose_images
from edge_inference.core.images.frame import Frame
from edge_inference.core.models.model import ModelDescription, load_model
from edge_inference.errors import ConfigError, SourceError
from edge_inference.optimize.images import labeled_images
from edge_inference.optimize.images.image_set import (
    ImageSet,
    golden_image_set,
    load_image_set,
    read_image_file,
)
from edge_inference.optimize.images.labeled_images import load_labeled_folders, load_labeled_table
from small_model import make_image, write_images, write_model


@pytest.fixture
def model(tmp_path: Path) -> ModelDescription:
    return load_model(write_model(tmp_path / "model"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 4)


def table(folder: Path, text: str) -> Path:
    file = folder / "labels.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_model_has_golden_images_and_crops(model: ModelDescription) -> None:
    images = golden_image_set(model)
    assert len(images) == 11
    assert images.class_ids is None
    assert images.description == "11 golden images and crops of them"
    first = choose_images(model, None, limit=3)
    assert (len(first), first.description) == (3, "3 golden images and crops of them")


def test_images_of_a_folder_are_read_on_access(folder: Path) -> None:
    images = load_image_set(str(folder))
    assert (len(images), images.skipped) == (4, ())
    assert [Path(frame.origin).name for frame in images] == [f"{n:03d}.png" for n in range(4)]
    np.testing.assert_array_equal(images[1].data.reshape(32, 48, 3), make_image(1, "green"))
    (folder / "001.png").unlink()
    with pytest.raises(SourceError, match=r"001\.png"):
        images[1]


def test_a_broken_image_is_skipped_and_reported(
    model: ModelDescription, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "001.png").write_bytes(b"no image")
    images = choose_images(model, str(folder))
    assert len(images) == 3
    assert "001.png" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "names"), [(1, 1), (2, 2), (9, 4)])
def test_a_limit_spreads_evenly(folder: Path, limit: int, names: int) -> None:
    assert len(load_image_set(str(folder), limit=limit)) == names


def test_images_of_a_video_are_kept_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (48, 32))
    for index in range(6):
        writer.write(make_image(index))
    writer.release()
    images = load_image_set(str(file), limit=3)
    assert [(frame.width, frame.height) for frame in images] == [(48, 32)] * 3


def test_slices_keep_their_labels() -> None:
    frames = [Frame.from_array(make_image(seed)) for seed in range(4)]
    images = ImageSet(frames, "four", [3, 2, 1, 0])[::2]
    assert (len(images), images.class_ids) == (2, (3, 1))
    with pytest.raises(ValueError, match="4 images, 1 classes"):
        ImageSet(frames, "four", [1])


def test_a_file_that_is_not_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not an image"):
        read_image_file(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    "text",
    [
        "image,label\n000.png,red\n001.png,green\n",
        "000.png, red\n\n001.png,1\n",
        "\ufeffImage,Label\r\n000.png,0\r\n001.png,green\r\n",
    ],
)
def test_a_table_of_labels(model: ModelDescription, folder: Path, text: str) -> None:
    images = load_labeled_table(model, table(folder, text), None)
    assert images.class_ids == (0, 1)
    assert images[0].origin.endswith("000.png")


def test_a_table_may_be_in_another_folder(
    model: ModelDescription, folder: Path, tmp_path: Path
) -> None:
    images = choose_images(model, str(folder), str(table(tmp_path, "000.png,blue\n")))
    assert images.class_ids == (2,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got none"),
        ("image,label\n", "got none"),
        ("000.png\n", "line 1: expected image,label"),
        ("000.png,red\n000.png,red,2\n", "line 2: expected image,label"),
        ("000.png,\n", "line 1: expected image,label"),
        ("000.png,gren\n", "line 1: 'gren' is none of the 3 labels .* did you mean 'green'"),
        ("000.png,3\n", "'3' is none of the 3 labels"),
        ("000.png,-1\n", "'-1' is none of the 3 labels"),
    ],
)
def test_a_wrong_table_names_its_line(
    model: ModelDescription, folder: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_labeled_table(model, table(folder, text), None)


def test_a_table_of_missing_images(model: ModelDescription, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image can be read"):
        load_labeled_table(model, table(tmp_path, "none.png,red\n"), None)


@pytest.mark.parametrize("head", ["", "image,label\n"])
def test_a_table_of_too_many_images(
    model: ModelDescription, folder: Path, monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    monkeypatch.setattr(labeled_images, "_MAX_ROWS", 50)
    with pytest.raises(ConfigError, match=r"labels\.csv: line 10[34]: expected at most 50 images"):
        load_labeled_table(model, table(folder, head + "\n000.png,red\n" * 60), None, 1)


def test_only_picked_rows_of_a_table_become_files(
    model: ModelDescription, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[Path, int]] = []
    real = labeled_images.load_labeled_files

    def seen(class_of: dict[Path, int], source: str, limit: int | None) -> ImageSet:
        made.append(class_of)
        return real(class_of, source, limit)

    monkeypatch.setattr(labeled_images, "load_labeled_files", seen)
    rows = "000.png,red\n003.png,blue\n" + "".join(f"{n}.png,green\n" for n in range(5, 90))
    images = load_labeled_table(model, table(folder, rows + "002.png,blue\n"), None, 2)
    assert len(made[0]) == 2
    assert [Path(frame.origin).name for frame in images] == ["000.png", "002.png"]
    assert images.class_ids == (0, 2)


def test_a_table_that_is_not_text(model: ModelDescription, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_labeled_table(model, file, None)


def test_labels_are_for_classification(model: ModelDescription, folder: Path) -> None:
    detector = dataclasses.replace(model, task="detection")
    with pytest.raises(ConfigError, match="for classification only"):
        load_labeled_table(detector, table(folder, "000.png,red\n"), None)
    assert load_labeled_folders(detector, folder.parent) is None


def test_folders_named_by_class(model: ModelDescription, tmp_path: Path) -> None:
    for name in ("blue", "red"):
        write_images(tmp_path / "by_class" / name, 2)
    (tmp_path / "by_class" / "green").mkdir()
    images = choose_images(model, str(tmp_path / "by_class"))
    assert images.class_ids == (2, 2, 0, 0)
    assert choose_images(model, str(tmp_path / "by_class"), limit=2).class_ids == (2, 0)


def test_a_folder_that_is_not_a_class_among_classes_is_refused(
    model: ModelDescription, tmp_path: Path
) -> None:
    for name in ("blue", "purple"):
        write_images(tmp_path / "by_class" / name, 1)
    with pytest.raises(ConfigError, match="'purple' is none of the 3 labels"):
        choose_images(model, str(tmp_path / "by_class"))


def test_folders_with_other_names_have_no_labels(model: ModelDescription, tmp_path: Path) -> None:
    write_images(tmp_path / "drives" / "monday", 2)
    images = choose_images(model, str(tmp_path / "drives"))
    assert (len(images), images.class_ids) == (2, None)


def test_options_that_exclude_each_other(model: ModelDescription, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--topic"):
        choose_images(model, None, topic="/x")
    with pytest.raises(UsageError, match="expected the folder of the images"):
        choose_images(model, str(tmp_path / "none"), "labels.csv")

"""The files beside an export say how images are preprocessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_inference.core.exports.families import propose
from edge_inference.core.exports.sidecars import Sidecars, read_sidecars
from proposal_kit import BOX, CLASS, SCORE, decode, evidence, floats, input_spec


def test_timm_says_its_normalization() -> None:
    config = {
        "pretrained_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.5, 1.0],
            "crop_pct": 0.9,
            "interpolation": "bicubic",
        },
        "label_names": ["a", "b", "c"],
    }
    known = evidence({"out": floats([1, 2, 3])}, sidecars=Sidecars(transformers=config))
    proposal = propose(known)
    assert proposal is not None
    assert proposal.input["mean"] == [127.5, 127.5, 127.5]
    assert proposal.input["std"] == [63.75, 127.5, 255.0]
    assert proposal.input["crop_fraction"] == 0.9
    assert proposal.input["interpolation"] == "cubic"
    assert proposal.labels == ("a", "b", "c")
    assert "input.mean" not in proposal.assumed


@pytest.mark.parametrize(
    ("preprocessor", "mean", "std"),
    [
        (
            {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.4, 1.0]},
            [127.5, 102.0, 76.5],
            [51.0, 102.0, 255.0],
        ),
        ({"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, [0.0], [255.0]),
        (
            {"do_rescale": False, "do_normalize": True, "image_mean": [5.0], "image_std": [2.0]},
            [5.0],
            [2.0],
        ),
    ],
)
def test_transformers_says_its_normalization(
    preprocessor: dict[str, Any], mean: list[float], std: list[float]
) -> None:
    known = evidence(
        {"logits": np.zeros((1, 5, 16, 16), np.float32)},
        sidecars=Sidecars(transformers={"id2label": {"0": "LABEL_0"}}, preprocessor=preprocessor),
        name="pixel_values",
    )
    proposal = propose(known)
    assert proposal is not None
    assert proposal.task == "segmentation"
    assert proposal.input["mean"] == pytest.approx(mean)
    assert proposal.input["std"] == pytest.approx(std)
    assert proposal.labels == ()  # the name is made up


@pytest.mark.parametrize(
    ("preprocessor", "resize", "fraction"),
    [
        # MobileNetV2, CLIP, ConvNeXT, ViT; the old style of MobileViT
        ({"do_center_crop": True, "size": {"shortest_edge": 256}, "crop_size": 224}, True, 0.875),
        (
            {
                "do_center_crop": True,
                "size": {"shortest_edge": 224},
                "crop_size": {"height": 224, "width": 224},
            },
            True,
            1.0,
        ),
        ({"crop_pct": 0.95, "size": {"shortest_edge": 224}}, True, 0.95),
        ({"crop_pct": 0.95, "size": {"shortest_edge": 384}}, False, None),
        ({"size": {"height": 224, "width": 224}, "do_resize": True}, False, None),
        ({"do_center_crop": True, "size": 288, "crop_size": 256}, True, 0.8889),
        # Nothing to compare: the image is cropped as it is.
        ({"do_center_crop": True, "crop_size": 224, "size": {"shortest_edge": "a"}}, True, 1.0),
        ({"do_center_crop": True, "do_resize": False, "size": 256, "crop_size": 224}, True, 1.0),
        ({"do_center_crop": True, "size": 200, "crop_size": 224}, True, 1.0),
        ({"do_center_crop": True, "size": 16384, "crop_size": 1}, True, 0.01),
        ({"do_center_crop": True, "size": 2, "crop_size": 10**400}, True, 1.0),
    ],
)
def test_transformers_says_its_crop(
    preprocessor: dict[str, Any], resize: bool, fraction: float | None
) -> None:
    known = evidence(
        {"logits": floats([0.5, 1.5, 2.5])},
        sidecars=Sidecars(preprocessor={**preprocessor, "resample": 3}),
        name="pixel_values",
    )
    proposal = propose(known)
    assert proposal is not None
    assert proposal.task == "classification"
    assert proposal.input["resize"] == ("center_crop" if resize else "stretch")
    assert proposal.input.get("crop_fraction") == fraction
    assert proposal.input["interpolation"] == "cubic"
    input_spec(proposal)


def test_paddle_says_its_preprocessing() -> None:
    config = {
        "Preprocess": [
            {"type": "Resize", "keep_ratio": True, "target_size": [640, 640], "interp": 2},
            {
                "type": "NormalizeImage",
                "is_scale": True,
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
                "norm_type": "mean_std",
            },
            {"type": "Permute"},
        ],
        "label_list": ["a", "b", "c", "d"],
    }
    known = evidence(
        {"rows": floats([CLASS, SCORE, *BOX]), "count": np.array([1], np.int32)},
        sidecars=Sidecars(paddle=config),
    )
    proposal = propose(known)
    assert proposal is not None
    assert proposal.input["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert proposal.input["std"] == pytest.approx([58.395, 57.12, 57.375])
    assert proposal.input["resize"] == "letterbox"
    assert proposal.input["letterbox_align"] == "top_left"
    assert proposal.labels == ("a", "b", "c", "d")
    assert decode(proposal, known.outputs).label(0) == "d"


@pytest.mark.parametrize("place", [".", "onnx"])
def test_files_beside_the_model(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    (tmp_path / "config.json").write_text('{"id2label": {"0": "a", "1": "b"}}')
    (tmp_path / "preprocessor_config.json").write_text("{")
    (tmp_path / "infer_cfg.yml").write_text("arch: YOLO\n")
    found = read_sidecars(folder)
    assert found.labels == ("a", "b")
    assert found.paddle == {"arch": "YOLO"}
    (problem,) = found.problems
    assert "preprocessor_config.json is ignored: " in problem


def test_files_of_other_models_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "a"}}')
    (tmp_path / "exported").mkdir()
    assert read_sidecars(tmp_path / "exported") == Sidecars()


@pytest.mark.parametrize("text", ["[1, 2]", "7", '{"a": ' * 10_000, "\xff"])
def test_hostile_files_beside_the_model(tmp_path: Path, text: str) -> None:
    for name in ("config.json", "preprocessor_config.json", "infer_cfg.yml"):
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    found = read_sidecars(tmp_path)
    assert found.found == ()
    assert found.labels == ()

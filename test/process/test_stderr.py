"""Only lines of this package are on stderr, none of the libraries."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edge_inference.core.models.model_search import find_model
from hostile_models import make_network, write_model

ROOT = Path(__file__).parents[2]
CONSOLE = "import sys; from edge_inference.cli.main import console; sys.exit(console())"
READ = """
import sys
from edge_inference.core.images.media import open_media
from edge_inference.errors import SourceError
try:
    media = open_media(sys.argv[1])
    while media.read() is not None:
        pass
except SourceError as error:
    print("ours:", error, file=sys.stderr)
"""
TIMEOUT_S = 240.0
IMAGE = ROOT / "models" / "nanodet" / "golden" / "astronaut.jpg"


def lines_of(folder: Path, code: str, *words: str) -> list[str]:
    """Run a program without the variables that quiet libraries; return its lines on stderr."""
    quiet = ("OPENCV_LOG_LEVEL", "OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_CAPTURE_OPTIONS")
    kept = {name: value for name, value in os.environ.items() if name not in quiet}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**kept, "PYTHONPATH": str(ROOT), "EDGE_INFERENCE_CACHE": str(folder / "cache")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stderr.splitlines()


def _fails_when_run() -> ModelProto:
    """Reshapes the means to the shape of the image, which has more elements."""
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Reshape", ["means", "shape"], ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("Add", ["means", "most"], ["logits"]),
    ]
    return make_network(nodes, {})


def _unknown_operator() -> ModelProto:
    return make_network([helper.make_node("NoSuchThing", ["means"], ["logits"])], {})


def _mismatched_types() -> ModelProto:
    node = helper.make_node("Add", ["means", "number"], ["logits"])
    return make_network([node], {"number": np.int64([1])})


def _missing_weights() -> ModelProto:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "gone.bin"
    made = make_network([helper.make_node("Add", ["means", "w"], ["logits"])], {})
    made.graph.initializer.append(weights)
    return made


BAD = {
    "fails when it is run": _fails_when_run,
    "no operator": _unknown_operator,
    "types": _mismatched_types,
}


@pytest.mark.parametrize("verb", [["models", "check", "{}"], ["compare", "{}"]])
@pytest.mark.parametrize("kind", [*BAD, "no file of weights", "cut off", "no model"])
def test_a_bad_model_is_one_line(tmp_path: Path, kind: str, verb: list[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    if kind in BAD:
        write_model(folder, BAD[kind]())
    elif kind == "no file of weights":
        write_model(folder, _missing_weights())
        (folder / "weights.bin").unlink()
    else:
        write_model(folder, make_network([], {}))
        file, old = folder / "small.onnx", (folder / "small.onnx").read_bytes()
        file.write_bytes(old[: len(old) // 2] if kind == "cut off" else b"no model")
        described = (folder / "model.yaml").read_text()
        new = hashlib.sha256(file.read_bytes()).hexdigest()
        (folder / "model.yaml").write_text(described.replace(hashlib.sha256(old).hexdigest(), new))
    arguments = [word.format(folder) for word in verb] + (
        ["--backend", "ort"] if verb[0] == "models" else ["--backends", "ort"]
    )
    lines = lines_of(tmp_path, CONSOLE, *arguments)
    assert len(lines) == 1, lines
    assert lines[0].startswith("edge-inference: ") and "small.onnx" in lines[0]


def _images(folder: Path) -> dict[str, Path]:
    image = cv2.imread(str(IMAGE))
    made = {}
    for suffix in (".bmp", ".jpg", ".png", ".tiff", ".webp"):
        data = cv2.imencode(suffix, image)[1].tobytes()
        made[f"cut{suffix}"] = folder / f"cut{suffix}"
        made[f"cut{suffix}"].write_bytes(data[: len(data) // 2])
    data = bytearray(cv2.imencode(".png", image)[1].tobytes())
    data[3000:3100] = bytes(100)
    made["damaged.png"] = folder / "damaged.png"
    made["damaged.png"].write_bytes(data)
    return made


def _videos(folder: Path) -> dict[str, Path]:
    whole = folder / "whole.mp4"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"mp4v"), 10, (320, 240))
    noise = np.random.default_rng(1)
    for _ in range(10):
        writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8))
    writer.release()
    data = whole.read_bytes()
    contents = {
        "cut.mp4": data[: len(data) // 2],
        "noise.mp4": data[:32] + noise.bytes(5000),
        "noise.mkv": b"\x1a\x45\xdf\xa3" + noise.bytes(5000),
        "noise.avi": b"RIFF\0\0\0\0AVI " + noise.bytes(5000),
        "noise.ogv": b"OggS\0" + noise.bytes(5000),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_a_bad_image_or_video_is_one_line(tmp_path: Path) -> None:
    for file in (*_images(tmp_path).values(), *_videos(tmp_path).values()):
        lines = lines_of(tmp_path, READ, str(file))
        assert len(lines) == 1, (file, lines)
        assert lines[0].startswith("ours: ") and file.name in lines[0]


def test_other_users_of_opencv_keep_its_log_lines(tmp_path: Path) -> None:
    bad = _images(tmp_path)["cut.bmp"]
    other = "import cv2; cv2.imread(sys.argv[1])\n"
    lines = lines_of(tmp_path, READ + other, str(bad))
    assert lines[0].startswith("ours: ") and "[ERROR" in "".join(lines[1:])


def test_the_shipped_models_print_nothing(tmp_path: Path) -> None:
    names = ("nanodet", "efficientnet_lite0")
    assert all(find_model(name) for name in names)
    assert lines_of(tmp_path, CONSOLE, "models", "check", *names) == []

"""Bad input from a stranger: one clear error on /diagnostics, and the next frame is fine."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model_search import find_model
from edge_inference.core.tensors import TensorBatch
from edge_inference.nodes import component
from edge_inference.nodes.conversions.tensors import TensorListAdapter
from hostile_models import write_hostile_model
from rig import Collected, Outside, Rig, as_base64, wait_for

MODELS = Path(__file__).parents[2] / "models"
NANODET = MODELS / "nanodet"
CAT = NANODET / "golden" / "chelsea.jpg"
IMAGE = cv2.resize(cv2.imread(str(CAT)), (320, 240))


class Perception:
    """The last ``stages`` of three in a container; another process feeds and reads them.

    A stage accepts another process only if the stage before it is not in the container.
    """

    def __init__(self, rig: Rig, outside: Outside, transport: str = "raw", stages: int = 3) -> None:
        self.rig, self.outside = rig, outside
        self.decode = rig.load("Decode")
        if stages > 1:
            self.inference = rig.load("Inference", golden_check="off")
        if stages > 2:
            # Settled at once: a stranger's first image must not meet a subscription on the move.
            qos = {"image_reliability": "reliable"}
            self.preprocess = rig.load("Preprocess", image_transport=transport, **qos)
        self.detections = rig.tap("/ai/detections")
        self.diagnostics = outside.listen("/diagnostics", "diagnostic_msgs/DiagnosticArray")
        self.sent = 0

    def stamp(self) -> dict:
        seconds, rest = divmod(self.decode.now_ns(), 10**9)
        return {"stamp": {"sec": seconds, "nanosec": rest}, "frame_id": "far"}

    def speak(self, node, topic: str, message_type: str):
        send = self.outside.speak(topic, message_type)
        self.rig.wait_for_publishers(node, topic)
        return lambda **fields: send(**{"header": self.stamp(), **fields})

    def refused(self, node, message: str, count: int = 1) -> None:
        """Wait for the error, at the node and on /diagnostics, where the stranger sees it.

        ``count`` is the number of frames that it has refused so far.
        """
        wait_for(lambda: node.health.drop_counts().get("invalid") == count, f"refusal {count}")
        name = node.get_fully_qualified_name()

        def shown() -> bool:
            return any(
                status["level"] == 2
                and re.search(message, status["message"])
                and {"key": "dropped: invalid", "value": str(count)} in status["values"]
                for array in list(self.diagnostics)
                for status in array["status"]
                if status["name"] == name
            )

        wait_for(shown, f"{message!r} on /diagnostics")
        assert node.health.drop_counts() == {"invalid": count}

    def works(self, send_good) -> None:
        """Check that a good frame still leads to the cat."""
        before = len(self.detections)
        send_good()
        self.detections.wait(before + 1)
        found = self.detections[-1]
        assert "cat" in [found.label(i) for i in range(len(found))]


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell on /diagnostics ten times a second."""
    monkeypatch.setattr(component, "DIAGNOSTICS_PERIOD_S", 0.1)


@pytest.fixture
def perception(rig: Rig, outside: Outside) -> Perception:
    return Perception(rig, outside)


def raw(**changes) -> dict:
    height, width = IMAGE.shape[:2]
    fields = {"height": height, "width": width, "encoding": "bgr8", "step": width * 3}
    return {**fields, "data": as_base64(IMAGE.tobytes()), **changes}


NO_IMAGES = [
    ({"data": ""}, "0 bytes|got 0|no data"),
    ({"data": as_base64(IMAGE.tobytes()[:-1])}, "230399"),
    ({"encoding": "rgb9"}, "'rgb9'"),
    ({"encoding": ""}, "encoding"),
    ({"step": 0}, "step"),
    ({"step": 959}, "step"),
    ({"width": 0}, "0x240"),
    ({"width": 2**32 - 1, "height": 2**32 - 1}, "4294967295x4294967295"),
]


def test_images_that_are_none(perception: Perception) -> None:
    node = perception.preprocess
    send = perception.speak(node, "/ai/image_raw", "sensor_msgs/Image")
    for count, (changes, message) in enumerate(NO_IMAGES, 1):
        send(**raw(**changes))
        perception.refused(node, message, count)
        perception.works(lambda: send(**raw()))


#: A chunk of 4 GB, and as many bytes of it as a message has.
ENDLESS_PNG = bytes.fromhex(
    "89504e470d0a1a0a 0000000d49484452 00000008 00000008 0802000000 4b6d29dc fffffff0 49444154"
) + bytes(16)


#: The size of 16000x16000 after a small thumbnail.
_SIZES = "ffe1000f {0}0008000801011100 {0}3e803e8001011100"
LARGE_JPEG = (
    bytes.fromhex("ffd8" + _SIZES.format("ffc0000b08"))
    + bytes.fromhex("ffda0008010100003f00")
    + b"\xff\xd9"
)
NO_JPEGS = (b"", b"no image", CAT.read_bytes()[:2000], ENDLESS_PNG, LARGE_JPEG)


def test_compressed_images_that_are_none(rig: Rig, outside: Outside) -> None:
    perception = Perception(rig, outside, "compressed")
    node, topic = perception.preprocess, "/ai/image_raw/compressed"
    send = perception.speak(node, topic, "sensor_msgs/CompressedImage")
    for count, data in enumerate(NO_JPEGS, 1):
        send(format="jpeg", data=as_base64(data))
        perception.refused(node, "compressed image", count)
        perception.works(lambda: send(format="jpeg", data=as_base64(CAT.read_bytes())))


GEOMETRY = Geometry(320, 240, 1.3, 1.3, 0.0, 52.0)
MODEL = find_model("nanodet")


def tensors(model: str = "nanodet", geometry=(GEOMETRY,), **arrays) -> dict:
    """Return a TensorList as JSON."""
    message = TensorListAdapter().to_message(TensorBatch(arrays, tuple(geometry), model))
    return {
        "model": model,
        "tensors": [
            {
                "name": tensor.name,
                "dtype_code": tensor.dtype_code,
                "dtype_bits": tensor.dtype_bits,
                "dtype_lanes": 1,
                "shape": list(tensor.shape),
                "data": as_base64(tensor.data.tobytes()),
            }
            for tensor in message.tensors
        ],
        "geometry": [
            {name: getattr(entry, name) for name in entry.get_fields_and_field_types()}
            for entry in message.geometry
        ],
    }


def broken(batch: dict, **changes) -> dict:
    batch["tensors"][0].update(changes)
    return batch


def cat() -> tuple[dict[str, np.ndarray], Geometry]:
    tensor, geometry = Preprocessor(MODEL.input)(Frame.from_array(IMAGE, "bgr8", 1, "far"))
    return {MODEL.input.name: tensor}, geometry


def good_tensors() -> dict:
    arrays, geometry = cat()
    return tensors(geometry=(geometry,), **arrays)


def good_outputs() -> dict:
    arrays, geometry = cat()
    with OrtBackend(MODEL.variants["fp32"].file) as backend:
        return tensors(geometry=(geometry,), **backend.infer(arrays))


ZEROS = np.zeros((1, 3, 416, 416), np.float32)


NO_TENSORS = [
    (tensors(images=np.full_like(ZEROS, np.nan)), "'images' has NaN or infinite values"),
    (tensors(images=np.full_like(ZEROS, np.inf)), "'images' has NaN or infinite values"),
    (tensors(images=ZEROS[0]), r"expected images: float32 \[1, 3.*got float32 \[3, 416, 416\]"),
    (tensors(images=ZEROS[..., :400]), r"\[1, 3, 416, 400\]"),
    (tensors(images=ZEROS.astype(np.float16)), "expected images: float32 .*got float16"),
    (tensors(pixels=ZEROS), "'images' is missing.*got .'pixels'."),
    (tensors(), "'images' is missing"),
    (tensors("resnet", images=ZEROS), "tensor for model 'resnet'; this node runs 'nanodet'"),
    (broken(tensors(images=ZEROS), shape=[1, 3, 416, 417]), "needs .* bytes"),
    (broken(tensors(images=ZEROS), dtype_code=5), "dtype code 5"),
]


def test_tensors_that_are_none(rig: Rig, outside: Outside) -> None:
    perception = Perception(rig, outside, stages=2)
    node = perception.inference
    send = perception.speak(node, "/ai/tensor", "edge_inference/TensorList")
    good = good_tensors()
    for count, (fields, message) in enumerate(NO_TENSORS, 1):
        send(**fields)
        perception.refused(node, message, count)
        perception.works(lambda: send(**good))


def outputs(**changes) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {}
    for stride in (8, 16, 32):
        cells = (416 // stride) ** 2
        made[f"cls_s{stride}"] = np.zeros((1, cells, 80), np.float32)
        made[f"dis_s{stride}"] = np.zeros((1, cells, 32), np.float32)
    return {**made, **changes}


NO_OUTPUTS = [
    (tensors(geometry=(), **outputs()), "without geometry: expected one entry for each"),
    (tensors(**outputs(cls_s8=np.zeros((1, 4, 80), np.float32))), "cls_s8"),
    (tensors(**outputs(cls_s8=np.full((1, 2704, 80), np.nan, np.float32))), "cls_s8"),
    (tensors(), "cls_s8"),
    (tensors("resnet", **outputs()), "raw output: expected model 'nanodet', got 'resnet'"),
]


def test_outputs_that_are_none(rig: Rig, outside: Outside) -> None:
    perception = Perception(rig, outside, stages=1)
    node = perception.decode
    send = perception.speak(node, "/ai/raw_output", "edge_inference/TensorList")
    good = good_outputs()
    for count, (fields, message) in enumerate(NO_OUTPUTS, 1):
        send(**fields)
        perception.refused(node, message, count)
        perception.works(lambda: send(**good))


# Models -----------------------------------------------------------------------------------------


def altered(folder: Path, change) -> str:
    """Copy nanodet, change something in it, return the path."""
    copy = folder / "nanodet"
    shutil.copytree(NANODET, copy)
    change(copy)
    return str(copy)


def append(copy: Path) -> None:
    with (copy / "nanodet.onnx").open("ab") as file:
        file.write(b"x")


def remove(copy: Path) -> None:
    (copy / "nanodet.onnx").unlink()


def edit(old: str, new: str):
    def change(copy: Path) -> None:
        text = (copy / "model.yaml").read_text()
        assert old in text
        (copy / "model.yaml").write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("plugin", "change", "message"),
    [
        ("Inference", append, "expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"),
        (
            "Inference",
            remove,
            "nanodet.onnx: no such file; put the model's ONNX file there",
        ),
        ("Preprocess", shutil.rmtree, "not a model folder; expected a model.yaml in it"),
        ("Preprocess", edit("width: 416", "width: wide"), r"model\.yaml, line \d+.*width.*'wide'"),
        ("Decode", edit("task:", "task: ["), r"model\.yaml, line \d+"),
        ("Decode", edit("confidence: 0.4", "confidance: 0.4"), "confidance.*did you mean"),
        ("Decode", edit("name: nanodet", "name: nanodett"), "line .*nanodett"),
    ],
)
def test_a_model_that_is_wrong(
    rig: Rig,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    plugin: str,
    change,
    message: str,
) -> None:
    component = rig.load_component(plugin, model=altered(tmp_path, change))
    assert component.failure == "did not configure"
    status = component.node.health.status(now_ns=2**62)
    assert int(status.level) == 2
    assert re.search(message, status.message), status.message
    errors = [line for line in capfd.readouterr().err.splitlines() if "[ERROR]" in line]
    assert len(errors) == 2  # the component's, and the container's that it goes on
    rig.load("plugins::Plain")


def test_a_model_that_finds_something_else_than_its_golden_images_show(
    rig: Rig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = altered(tmp_path, edit("color: BGR", "color: RGB\n  pad_value: 0"))
    text = (Path(model) / "model.yaml").read_text()
    (Path(model) / "model.yaml").write_text(text.replace("mean: [", "mean: [90000.0, 0.0, 0.0] #"))
    refused = rig.load_component("Inference", model=model)
    assert refused.failure == "did not configure"
    assert "golden check: failed" in refused.node.health.status(2**62).message
    rig.call(lambda: rig.container.unload(refused.id))
    warned = rig.load_component("Inference", model=model, golden_check="warn")
    assert warned.failure == ""
    assert "golden check: failed" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["external data", "ConstantOfShape", "a declared shape"])
def test_a_model_that_says_that_it_needs_too_much(rig: Rig, tmp_path: Path, kind: str) -> None:
    model = write_hostile_model(tmp_path / "mine", kind)
    component = rig.load_component("Inference", model=str(model), model_max_mb=2048)
    assert component.failure == "did not configure"
    message = component.node.health.status(2**62).message
    assert "small.onnx" in message and "expected at most 2048" in message
    assert "model_max_mb" in message


def test_how_much_a_model_may_need_is_a_parameter(rig: Rig) -> None:
    refused = rig.load_component("Inference", model="nanodet", model_max_mb=1)
    assert refused.failure == "did not configure"
    assert "model_max_mb" in refused.node.health.status(2**62).message
    rig.call(lambda: rig.container.unload(refused.id))
    assert rig.load_component("Inference", model="nanodet", model_max_mb=64).failure == ""


def test_an_error_disappears_after_its_fix(rig: Rig, tmp_path: Path) -> None:
    model = altered(tmp_path, remove)
    node = rig.load("Inference", model=model, golden_check="off")
    assert int(node.health.status(2**62).level) == 2
    shutil.copy(NANODET / "nanodet.onnx", model)
    collected = Collected()
    rig.call(lambda: collected.take(node.trigger_configure()))
    assert node.health.status(2**62).message == "not active"

"""``models new``: what the user chooses, and what is refused; nothing half-done is left behind."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_inference.cli.command_line import run
from edge_inference.core.models.model import load_model
from edge_inference.core.yaml_file import load_yaml
from exports.graph import Graph
from exports.others import write_deployed_detr, write_torchvision_classifier
from exports.yolo import ultralytics_metadata, write_yolov8

FLOAT = TensorProto.FLOAT
IMAGE = {"images": (FLOAT, [1, 3, 32, 32])}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, in which nothing hidden may remain."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_INFERENCE_CACHE", str(tmp_path / "cache"))
    yield tmp_path
    assert not list(tmp_path.rglob(".*"))


def write_graph(
    file: Path,
    shape: Sequence[int],
    inputs: Mapping[str, tuple[int, list[int | str]]] = IMAGE,
    metadata: Mapping[str, object] | None = None,
) -> Path:
    """Write a graph whose output of a shape is the mean of its first input."""
    graph = Graph()
    first, *others = inputs
    value = graph.add("ReduceMean", graph.add("Cast", first, to=FLOAT), keepdims=0)
    for name in others:
        more = graph.add("Cast", name, to=FLOAT)
        value = graph.add("Add", value, graph.add("ReduceMean", more, keepdims=0))
    target = graph.constant(np.array(shape, np.int64))
    graph.rename(graph.add("Expand", value, target), "result")
    return graph.save(file, inputs, {"result": (FLOAT, list(shape))}, metadata)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """Run ``models new``, which refuses in one line and writes nothing."""
    before = sorted(Path().rglob("*"))
    assert run(["models", "new", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("edge-inference: ")
    assert captured.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return captured.err


def new(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """Run ``models new`` and return its report."""
    assert run(["models", "new", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_text_and_the_comments_say_what_is_assumed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_torchvision_classifier(Path("net.onnx"))
    assert run(["models", "new", "net.onnx"]) == 0
    text = capsys.readouterr().out
    assert "net: net/model.yaml" in text
    assert "license: the file names none" in text
    assert "labels: none; classes are reported by number" in text
    assert "input.color: assumed RGB" in text
    assert "result on astronaut.jpg: " in text
    written = Path("net/model.yaml").read_text()
    assert "# the file names no license: write" in written
    lines = written.splitlines()
    assert "# assumed RGB; check it" in lines[lines.index("  color: RGB") - 1]
    assert "# assumed ImageNet's" in lines[lines.index("  mean: [123.675, 116.28, 103.53]") - 1]
    model = load_model(Path("net"))
    assert (model.license, model.labels, model.task) == ("unknown", (), "classification")


def test_a_folder_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    write_yolov8(Path("net.onnx"))
    new(capsys, "net.onnx", "mine")
    assert load_model(Path("mine")).decoder == "yolov8"
    text = refusal(capsys, "net.onnx", "mine")
    assert "mine/model.yaml: it exists already" in text
    assert "--force" in text
    Path("mine/NOTICE.md").write_text("mine")
    new(capsys, "net.onnx", "mine", "--force", "--decoder", "yolo11")
    assert load_model(Path("mine")).decoder == "yolo11"
    assert Path("mine/NOTICE.md").read_text() == "mine"


def test_the_folder_of_the_file_itself(capsys: pytest.CaptureFixture[str]) -> None:
    file = write_yolov8(Path("mine/net.onnx"))
    before = file.stat().st_ino, file.stat().st_mtime_ns
    new(capsys, "mine/net.onnx", "mine")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
    load_model(Path("mine")).verify_files()


def test_another_file_of_that_name_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    write_yolov8(Path("net.onnx"))
    Path("mine").mkdir()
    Path("mine/net.onnx").write_text("another")
    assert "mine/net.onnx: it exists already" in refusal(capsys, "net.onnx", "mine")
    Path("file").touch()
    assert "file: expected a folder, got a file" in refusal(capsys, "net.onnx", "file")


def test_the_name_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    write_yolov8(Path("net.onnx"))
    assert "exclude each other" in refusal(capsys, "net.onnx", "a", "--name", "b", code=2)
    assert new(capsys, "net.onnx", "--name", "b")["model"] == "b"
    assert load_model(Path("b")).name == "b"


def test_labels_of_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    write_deployed_detr(Path("net.onnx"))
    names = ["zero", "one", "two", "three", "four", "five"]
    lines = "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    Path("names.yaml").write_text(f"names:\n{lines}")
    new(capsys, "net.onnx", "--labels", "names.yaml")
    assert load_model(Path("net")).labels == tuple(names)
    assert Path("net/labels.txt").read_text().splitlines() == names
    Path("bad.yaml").write_text("names: [\n")
    text = refusal(capsys, "net.onnx", "other", "--labels", "bad.yaml")
    assert "bad.yaml has no readable list of labels" in text


def test_labels_that_a_file_would_change_stay_in_the_yaml(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {0: "1 euro", 1: "2 dollars", 2: "3 yen: 'x'"}
    metadata = ultralytics_metadata("YOLOv8n-cls", "classify", names=names)
    write_graph(Path("net.onnx"), [1, 3], metadata=metadata)
    new(capsys, "net.onnx")
    assert load_model(Path("net")).labels == tuple(names.values())
    assert not Path("net/labels.txt").exists()


def test_labels_that_do_not_fit_the_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    write_yolov8(Path("net.onnx"))
    Path("two.txt").write_text("a\nb\n")
    text = refusal(capsys, "net.onnx", "--labels", "two.txt")
    assert "net.onnx: it does not run as proposed" in text
    assert "nothing was written" in text
    assert "of 80 classes" in text


def test_outputs_of_an_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    write_graph(Path("net.onnx"), [1, 2, 3, 4, 5])
    text = refusal(capsys, "net.onnx")
    assert "no decoder is known for its outputs result float32 [1, 2, 3, 4, 5]" in text
    assert "--decoder: " in text
    text = refusal(capsys, "net.onnx", "--decoder", "yolov8")
    assert "it does not run as proposed (unknown, decoder yolov8)" in text


def test_a_decoder_and_a_task_of_the_user(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_graph(Path("net.onnx"), [1, 2, 3, 4, 5])
    Path("mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from edge_inference.core.decoders import register\n"
        "from edge_inference.core.results import Classification\n"
        "import numpy as np\n"
        "@dataclass(frozen=True)\n"
        "class S: pass\n"
        "@register('mine', S)\n"
        "def decode(outputs, context, settings):\n"
        "    return Classification(np.int32([3]), np.float32([0.5]), context.labels)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    report = new(capsys, "net.onnx", "--decoder", "mine:decode", "--task", "classification")
    assert report["results"] == [{"label": "3", "score": 0.5}]
    assert "decoder.name" in report["assumed"]
    text = refusal(capsys, "net.onnx", "x", "--decoder", "mine:decode", "--task", "detection")
    assert "returns Classification, expected Detections" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "detecting"], "'detecting'"),
        (["--decoder", "yolov88"], "yolov8"),
        (["--image", "net.onnx"], "net.onnx: not an image"),
        (["--image", "none.png"], "none.png: cannot be read (No such file or directory)"),
        (["--labels", "none.txt"], "none.txt cannot be read"),
        (["--extra-input", "a=1"], "--extra-input 'a': expected one of the graph's other inputs"),
    ],
)
def test_options_that_cannot_be(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    write_yolov8(Path("net.onnx"))
    assert words in refusal(capsys, "net.onnx", *arguments)


def test_an_extra_input_that_is_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, "net.onnx", "--extra-input", "a=b", code=2)
    assert "expected NAME=VALUES" in text


@pytest.mark.parametrize("value", ["[[1, 2], [3]]", '"a"', '{"a": 1}', "1e400"])
def test_an_extra_input_that_is_no_array(capsys: pytest.CaptureFixture[str], value: str) -> None:
    write_graph(Path("net.onnx"), [1, 10], {**IMAGE, "factor": (FLOAT, [1, 2])})
    text = refusal(capsys, "net.onnx", "--extra-input", f"factor={value}")
    assert "--extra-input 'factor': expected " in text


def test_a_further_input(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = {**IMAGE, "factor": (FLOAT, [1, 2])}
    write_graph(Path("net.onnx"), [1, 10], inputs)
    text = refusal(capsys, "net.onnx")
    assert "factor float32 [1, 2]" in text
    assert "--extra-input" in text
    new(capsys, "net.onnx", "--extra-input", "factor=[[1, 2]]")
    assert load_yaml(Path("net/model.yaml")).plain()["extra_inputs"] == {"factor": [[1.0, 2.0]]}


@pytest.mark.parametrize("task", ["segment", "pose", "obb"])
def test_a_task_that_no_decoder_reads(capsys: pytest.CaptureFixture[str], task: str) -> None:
    metadata = ultralytics_metadata("YOLO11n", task)
    write_graph(Path("net.onnx"), [1, 116, 21], metadata=metadata)
    assert f"the task is '{task}', which no decoder" in refusal(capsys, "net.onnx")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([1, 16], "expected an input for an image"),
        ([1, 8, 32, 32], "expected an input for an image"),
        ([1, 3, 20000, 32], "at most 16384 pixels"),
    ],
)
def test_a_graph_that_takes_no_image(
    capsys: pytest.CaptureFixture[str], shape: list[int | str], words: str
) -> None:
    write_graph(Path("net.onnx"), [1, 10], {"x": (FLOAT, shape)})
    text = refusal(capsys, "net.onnx")
    assert words in text
    assert "x" in text


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        (FLOAT, ["batch", 1, 32, 48], {"layout": "NCHW", "color": "GRAY", "width": 48}),
        (TensorProto.UINT8, [1, 32, 48, 3], {"layout": "NHWC", "dtype": "uint8", "height": 32}),
        (FLOAT, [3, 32, 48], {"layout": "CHW", "width": 48, "height": 32}),
        (FLOAT, [4, 3, 32, 48], {"layout": "NCHW", "batch": 4}),
        (FLOAT, ["n", 3, "h", "w"], {"layout": "NCHW", "width": 224, "height": 224}),
        (TensorProto.FLOAT16, [1, 3, 32, 32], {"dtype": "float16"}),
        (FLOAT, [1, 4, 32, 32], {"color": "RGBA"}),
    ],
)
def test_inputs(
    capsys: pytest.CaptureFixture[str],
    kind: int,
    shape: list[int | str],
    expected: dict[str, object],
) -> None:
    batch = 4 if shape[0] == 4 else 1
    write_graph(Path("net.onnx"), [batch, 10], {"x": (kind, shape)})
    assert cv2.imwrite("image.png", np.full((40, 50, 4), 200, np.uint8))
    report = new(capsys, "net.onnx", "--image", "image.png")
    assert {key: report["input"][key] for key in expected} == expected


@pytest.mark.parametrize(
    ("alpha", "scale"),
    [(None, 255 / 255), (51, 51 / 255)],
)
def test_an_input_with_alpha(
    capsys: pytest.CaptureFixture[str], alpha: int | None, scale: float
) -> None:
    graph = Graph()
    graph.rename(graph.add("Flatten", graph.add("GlobalAveragePool", "x")), "logits")
    graph.save(Path("net.onnx"), {"x": (FLOAT, [1, 4, 16, 16])}, {"logits": (FLOAT, [1, 4])})
    colors = (100, 120, 140) if alpha is None else (100, 120, 140, alpha)
    cv2.imwrite("image.png", np.full((16, 16, len(colors)), colors, np.uint8))
    report = new(capsys, "net.onnx", "--image", "image.png")
    logits = [(140 - 123.675) / 58.395, (120 - 116.28) / 57.12, (100 - 103.53) / 57.375, scale]
    expected = np.exp(logits) / np.exp(logits).sum()
    scores = {result["label"]: result["score"] for result in report["results"]}
    assert [scores[str(number)] for number in range(4)] == pytest.approx(expected, abs=1e-3)
    texts = report["assumed"]
    assert texts["input.color"].startswith("assumed RGBA, as the input has 4 channels")
    assert texts["input.mean"].endswith("alpha assumed from 0 to 1")


def test_a_gray_input_has_the_average(capsys: pytest.CaptureFixture[str]) -> None:
    graph = Graph()
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", "x"))
    graph.rename(graph.add("Concat", pooled, pooled, axis=1), "logits")
    graph.save(Path("net.onnx"), {"x": (FLOAT, [1, 1, 16, 16])}, {"logits": (FLOAT, [1, 2])})
    report = new(capsys, "net.onnx")
    assert report["input"]["mean"] == [114.495]
    assert report["input"]["std"] == [57.63]
    assert "input.color" not in report["assumed"]
    assert "average" in report["assumed"]["input.mean"]


def test_the_next_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    write_yolov8(Path("net.onnx"))
    for folder, text in {
        "my net": "'./my net'",
        "/".join(("..", Path.cwd().name, "b")): "",
    }.items():
        assert run(["models", "new", "net.onnx", folder]) == 0
        command = capsys.readouterr().out.splitlines()[-1]
        assert text in command
        program, *arguments = shlex.split(command.removeprefix("  next: "))
        assert program == "edge-inference"
        assert run(arguments) == 0
        capsys.readouterr()
    assert run(["models", "check", "my net"]) == 1
    assert "here is './my net': give this path" in capsys.readouterr().err


def test_weights_in_other_files(capsys: pytest.CaptureFixture[str]) -> None:
    write_torchvision_classifier(Path("exported/net.onnx"))
    model = onnx.load("exported/net.onnx")
    big = numpy_helper.from_array(np.zeros((1000,), np.float32), "big")
    model.graph.initializer.append(big)
    model.graph.node.append(helper.make_node("Identity", ["big"], ["unused"]))
    onnx.save_model(
        model,
        "exported/net.onnx",
        save_as_external_data=True,
        location="net.onnx.data",
        size_threshold=1000,
    )
    new(capsys, "exported/net.onnx", "mine")
    listed = load_yaml(Path("mine/model.yaml")).plain()["variants"]["fp32"]["external_data"]
    assert list(listed) == ["net.onnx.data"]
    load_model(Path("mine")).verify_files()
    Path("exported/net.onnx.data").unlink()
    text = refusal(capsys, "exported/net.onnx", "other")
    assert "net.onnx.data: no such file" in text


def test_a_label_that_no_message_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    names = {0: "half \ud800", 1: "b", 2: "c"}
    metadata = ultralytics_metadata("YOLOv8n-cls", "classify", names=names)
    write_graph(Path("net.onnx"), [1, 3], metadata=metadata)
    text = refusal(capsys, "net.onnx")
    assert "name of class 0, got half of a surrogate pair" in text


def test_texts_of_a_stranger_stay_in_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    metadata = ultralytics_metadata(
        "YOLOv8n\nlicense: MIT\x1b[31m", "classify",
        license="5e3", names={0: "a\nb", 1: "x\u2028y", 2: "# c"},
    )  # fmt: skip
    write_graph(Path("net.onnx"), [1, 3], metadata=metadata)
    assert run(["models", "new", "net.onnx"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    model = load_model(Path("net"))
    assert model.license == "5e3"
    assert model.labels == ("a b", "x y", "# c")


def test_scores_that_the_quantizer_lost(capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(write_yolov8(Path("net.onnx")))
    assert new(capsys, "net.onnx")["warnings"] == []
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["raw" if name == output.name else name for name in node.output]
    for name, value in {"scale": np.float32(1), "zero": np.uint8(0)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    model.graph.node.extend(
        [
            helper.make_node("QuantizeLinear", ["raw", "scale", "zero"], ["quantized"]),
            helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], [output.name]),
        ]
    )
    onnx.save(model, "int8.onnx")
    (text,) = new(capsys, "int8.onnx")["warnings"]
    assert text.startswith(f"output {output.name!r} has only ")
    assert "1 apart" in text

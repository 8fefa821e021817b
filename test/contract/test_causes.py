"""A network that is refused: what is wrong, in one sentence, and what helps for that cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import yaml

import gpu_kit
from edge_inference.backends.ort import OrtBackend
from edge_inference.backends.trt.vendor import Vendor
from edge_inference.engines.build.build_options import BuildOptions
from edge_inference.engines.build.builder import build_engine
from edge_inference.engines.precision.folding import fold
from edge_inference.errors import EdgeInferenceError
from wrong_networks import NETWORKS

#: The sentences after the name of the file, by cause and engine.
SENTENCES = yaml.safe_load(Path(__file__).with_name("causes.yaml").read_text())
#: Text of libraries that helps nobody: C++ names, source files, folders of a build.
FORBIDDEN = re.compile(
    r"::|\w+\.(cc|cpp|h|hpp|cu)\b|/_src|_src/|std::|virtual |ONNXRuntimeError|Assertion|Error Code"
    r"|\bI[A-Z]\w+Layer|/tmp/edge_inference_"
)
ENGINES = ("ort", "onnx", "trt")


@pytest.fixture(scope="module")
def vendor() -> Vendor:
    return gpu_kit.tensorrt_rtx()


def refusal(file: Path, cause: str, read: Callable[[Path], object]) -> str | None:
    """Write the network of a cause; return the sentence that refuses it, None for none."""
    file.write_bytes(NETWORKS[cause]().SerializeToString())
    try:
        read(file)
    except EdgeInferenceError as error:
        return str(error).removeprefix(f"{file}: ")
    return None


def check(cause: str, engine: str, sentence: str | None, title: str) -> None:
    """Check a sentence against the table."""
    expected = SENTENCES[cause].get(engine)
    if expected is None:
        assert sentence is None
        return
    assert sentence is not None
    for name, text in {"{ort}": title, "{onnx}": onnx.__version__, "{trt}": title}.items():
        expected = expected.replace(name, text)
    assert re.fullmatch(re.escape(expected).replace(r"\{n\}", r"\d+"), sentence), sentence
    assert not FORBIDDEN.search(sentence)


ORT = f"ONNX Runtime {onnxruntime.__version__}"


def test_each_network_has_a_sentence() -> None:
    assert set(SENTENCES) == set(NETWORKS)
    for sentences in SENTENCES.values():
        assert sentences and set(sentences) <= set(ENGINES)
        assert all("; " in text for text in sentences.values())  # the hint


@pytest.mark.parametrize("cause", NETWORKS)
def test_onnx_runtime(tmp_path: Path, cause: str) -> None:
    sentence = refusal(tmp_path / "net.onnx", cause, lambda file: OrtBackend(file).open().close())
    check(cause, "ort", sentence, ORT)


@pytest.mark.parametrize("cause", NETWORKS)
def test_derivation(tmp_path: Path, cause: str) -> None:
    check(cause, "onnx", refusal(tmp_path / "net.onnx", cause, fold), ORT)


@pytest.mark.parametrize("cause", NETWORKS)
def test_tensorrt(tmp_path: Path, cause: str, vendor: Vendor) -> None:
    sentence = refusal(
        tmp_path / "net.onnx", cause, lambda file: build_engine(file, BuildOptions(), vendor=vendor)
    )
    check(cause, "trt", sentence, vendor.title)

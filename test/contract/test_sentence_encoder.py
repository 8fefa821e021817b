"""A BERT graph computes the formulas of the paper, and runs from a model folder."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.cli.main import main
from edge_inference.engines.precision.onnx_file import write_onnx
from edge_inference.errors import ModelError
from edge_inference.optimize.sentence_encoder import (
    make_bert_graph,
    read_bert_config,
    read_safetensors,
)
from edge_inference.speech.recognition.speech_model import load_speech_model
from tiny_language_models import embedding_model

LAYERS, HEADS, SIZE, INNER, WORDS = 2, 2, 8, 16, 300
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "hidden_size": SIZE,
    "layer_norm_eps": 1e-12,
}
Weights = dict[str, NDArray[np.float32]]


def weights() -> Weights:
    random = np.random.default_rng(1)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, SIZE),
        "embeddings.position_embeddings.weight": (64, SIZE),
        "embeddings.token_type_embeddings.weight": (2, SIZE),
        "embeddings.LayerNorm.weight": (SIZE,),
        "embeddings.LayerNorm.bias": (SIZE,),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part, rows, columns in (
            ("attention.self.query", SIZE, SIZE),
            ("attention.self.key", SIZE, SIZE),
            ("attention.self.value", SIZE, SIZE),
            ("attention.output.dense", SIZE, SIZE),
            ("intermediate.dense", INNER, SIZE),
            ("output.dense", SIZE, INNER),
        ):
            shapes |= {f"{name}.{part}.weight": (rows, columns), f"{name}.{part}.bias": (rows,)}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{name}.{part}.weight": (SIZE,), f"{name}.{part}.bias": (SIZE,)}
    return {name: random.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def safetensors(tensors: Weights) -> bytes:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def encoder_folder(folder: Path) -> Path:
    """Write the files of a published encoder, with the tiny tokenizer."""
    embedding_model(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(safetensors(weights()))
    return folder


def expected(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute a BERT encoder as in the paper, in double precision."""
    w = {name: array.astype(np.float64) for name, array in weights().items()}

    def normed(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centered = x - x.mean(-1, keepdims=True)
        unit = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-12)
        return unit * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    x = (
        w["embeddings.word_embeddings.weight"][ids]
        + w["embeddings.token_type_embeddings.weight"][0]
    )
    x = normed(x + w["embeddings.position_embeddings.weight"][: len(ids)], "embeddings.LayerNorm")
    width = SIZE // HEADS
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        q, k, v = (dense(x, f"{name}.attention.self.{p}") for p in ("query", "key", "value"))
        mixed = np.zeros_like(x)
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            scores = q[:, part] @ k[:, part].T / math.sqrt(width)
            shares = np.exp(scores - scores.max(-1, keepdims=True)) * mask
            mixed[:, part] = shares / shares.sum(-1, keepdims=True) @ v[:, part]
        attended = dense(mixed, f"{name}.attention.output.dense")
        x = normed(x + attended, f"{name}.attention.output.LayerNorm")
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = normed(x + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x


@pytest.mark.parametrize("mask", [[1, 1, 1, 1], [1, 1, 1, 0]])
def test_the_graph_matches_a_reference_in_numpy(tmp_path: Path, mask: list[int]) -> None:
    folder = encoder_folder(tmp_path)
    graph = make_bert_graph(
        read_bert_config(folder / "config.json"), read_safetensors(folder / "model.safetensors")
    )
    write_onnx(graph, tmp_path / "bert.onnx")
    ids, seen = np.array([5, 9, 5, 250]), np.array(mask)
    with OrtBackend(tmp_path / "bert.onnx") as backend:
        inputs = {"input_ids": ids, "attention_mask": seen, "token_type_ids": ids * 0}
        found = backend.infer({name: array[None] for name, array in inputs.items()})
    assert found["last_hidden_state"][0] == pytest.approx(expected(ids, seen), abs=2e-4)


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path)
    fewer = weights()
    del fewer["encoder.layer.1.output.dense.bias"]
    with pytest.raises(
        ModelError, match=r"weight encoder\.layer\.1\.output\.dense\.bias is missing"
    ):
        make_bert_graph(read_bert_config(folder / "config.json"), fewer)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model_type": "gpt2"}, "expected model_type bert .* got gpt2"),
        ({"hidden_act": "relu"}, "got bert, relu"),
        ({"position_embedding_type": "relative_key"}, "and relative_key"),
        ({"num_hidden_layers": "many"}, "missing or not a number"),
        ({"num_attention_heads": 3}, "a hidden_size that 3 heads divide, got 8"),
    ],
)
def test_another_kind_of_encoder_is_refused(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG | change))
    with pytest.raises(ModelError, match=complaint):
        read_bert_config(file)


@pytest.mark.parametrize(
    "data", [b"", b"abc", struct.pack("<Q", 2**60), struct.pack("<Q", 2) + b"[]"]
)
def test_a_file_without_weights_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        read_safetensors(file)
    with pytest.raises(ModelError, match="cannot be read"):
        read_safetensors(tmp_path / "nothing")


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(safetensors(weights())[:-100])
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        read_safetensors(file)


def test_the_intent_parser_can_use_the_folder(tmp_path: Path) -> None:
    source, output = encoder_folder(tmp_path / "source"), tmp_path / "mine"
    command = ["speech", "embedding", str(source), "--output", str(output), "--license", "MIT"]
    assert main("edge-inference", command) == 0
    model = load_speech_model(output)
    model.verify_files()
    assert (model.task, model.license) == ("embedding", "MIT")


def test_useless_weights_leave_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = encoder_folder(tmp_path / "source"), tmp_path / "mine"
    nothing = {name: np.zeros_like(array) for name, array in weights().items()}
    (source / "model.safetensors").write_bytes(safetensors(nothing))
    command = ["speech", "embedding", str(source), "--output", str(output)]
    assert main("edge-inference", command) == 1
    assert "are not those of a sentence encoder" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("nowhere", "config.json is missing"),
        ("package:no_such_package_here/model", "'no_such_package_here' is not installed"),
        ("package:", "'' is not installed"),
    ],
)
def test_an_unknown_source_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, complaint: str
) -> None:
    command = ["speech", "embedding", source, "--output", str(tmp_path / "mine")]
    assert main("edge-inference", command) == 1
    assert complaint in capsys.readouterr().err


def test_an_existing_folder_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = encoder_folder(tmp_path)
    command = ["speech", "embedding", str(source), "--output", str(source)]
    assert main("edge-inference", command) == 1
    assert "it exists already" in capsys.readouterr().err

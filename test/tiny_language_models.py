"""Model folders of a few kilobytes: a real language model and real sentence embeddings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

END = "<|im_end|>"
MARKS = ("<|endoftext|>", "<|im_start|>", END)
SURE = 20.0


def language_model(folder: Path, follows: dict[str, str]) -> Path:
    """Make a model with a table of the next character; ``END`` ends the text.

    The output depends on the key-value cache, and is useless with a wrong attention mask.
    """
    names = _tokenizer(folder)
    chances = np.zeros((len(names), len(names)), np.float32)
    for before, after in follows.items():
        chances[names.index(_byte(before)), names.index(_byte(after))] = SURE
    size = len(names)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Unsqueeze", ["vectors", "one"], ["new"]),
        helper.make_node("Concat", ["past_key_values.0.key", "new"], ["present.0.key"], axis=2),
        helper.make_node("Concat", ["past_key_values.0.value", "new"], ["present.0.value"], axis=2),
        helper.make_node("Squeeze", ["present.0.key", "one"], ["seen"]),
        helper.make_node("Shape", ["seen"], ["seen_length"], start=1, end=2),
        helper.make_node("ReduceSum", ["attention_mask"], ["masked_length"], keepdims=0),
        helper.make_node("Equal", ["seen_length", "masked_length"], ["is_right"]),
        helper.make_node("Cast", ["is_right"], ["weight"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["seen", "chances"], ["scores"]),
        helper.make_node("Mul", ["scores", "weight"], ["logits"]),
    ]
    past = [
        helper.make_tensor_value_info(
            f"past_key_values.0.{n}", TensorProto.FLOAT, [1, 1, "p", size]
        )
        for n in ("key", "value")
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "t", size])] + [
        helper.make_tensor_value_info(f"present.0.{n}", TensorProto.FLOAT, [1, 1, "t", size])
        for n in ("key", "value")
    ]
    whole = ["input_ids", "attention_mask", "position_ids"]
    constants = {"table": np.eye(size, dtype=np.float32), "one": np.array([1]), "chances": chances}
    _save(folder / "decoder.onnx", nodes, whole, past, outputs, constants)
    return _described(folder, "language_model", "decoder")


def embedding_model(folder: Path) -> Path:
    """Make sentence embeddings from the frequency of each character in a text."""
    size = len(_tokenizer(folder))
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    outputs = [
        helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [1, "t", size])
    ]
    whole = ["input_ids", "attention_mask", "token_type_ids"]
    constants = {"table": np.eye(size, dtype=np.float32)}
    _save(folder / "encoder.onnx", nodes, whole, [], outputs, constants)
    return _described(folder, "embedding", "encoder")


def _tokenizer(folder: Path) -> list[str]:
    tokenizers = pytest.importorskip("tokenizers")
    folder.mkdir(exist_ok=True)
    names = [*MARKS, *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())]
    found = tokenizers.Tokenizer(
        tokenizers.models.BPE({name: number for number, name in enumerate(names)}, [])
    )
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = tokenizers.decoders.ByteLevel()
    found.add_special_tokens(list(MARKS))
    found.save(str(folder / "tokenizer.json"))
    return names


def _byte(character: str) -> str:
    return {" ": "Ġ", "\n": "Ċ"}.get(character, character)


def _save(
    file: Path,
    nodes: list[onnx.NodeProto],
    whole: list[str],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
) -> None:
    # Lengths differ between inputs: a mask covers the whole context.
    given = [helper.make_tensor_value_info(n, TensorProto.INT64, [1, f"{n}_length"]) for n in whole]
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [*given, *inputs], outputs, kept)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), file)


def _described(folder: Path, task: str, role: str) -> Path:
    text = f"task: {task}\nlicense: Apache-2.0\nfiles:\n"
    for name, file in ((role, f"{role}.onnx"), ("tokenizer", "tokenizer.json")):
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        text += f"  {name}: {{file: {file}, sha256: {digest}}}\n"
    (folder / "speech.yaml").write_text(text)
    return folder

"""``edge-inference speech embedding``: a published sentence encoder as a model folder."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.bounded_file import is_plain_file, read_bytes
from edge_inference.core.checksum import sha256_of
from edge_inference.engines.precision.onnx_file import write_onnx
from edge_inference.errors import ModelError
from edge_inference.optimize.sentence_encoder import bert_graph, read_safetensors, read_shape
from edge_inference.speech.language_model.json_tokenizer import (
    MAX_TOKENIZER_BYTES,
    load_json_tokenizer,
)
from edge_inference.speech.language_model.sentence_embedding import SentenceEmbedding
from edge_inference.speech.recognition.speech_model import DESCRIPTION_FILE

_IN_PACKAGE = "package:"
_NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
# In the first the same is meant twice.
_TRIAL = ("go forward", "move ahead", "the soup is cold")


@dataclass(frozen=True)
class EmbeddingOptions:
    """What ``speech embedding`` was asked for."""

    source: str
    output: str
    licence: str


def export_embedding_model(order: EmbeddingOptions) -> int:
    """Write the folder, try it, and say where it is; returns the exit code.

    Raises ModelError for a source that is no BERT encoder, for a folder that is there already,
    and for vectors that do not tell the same from something else.
    """
    source = _source(order.source)
    for name in _NEEDED:
        if not is_plain_file(source / name):
            raise ModelError(f"{source}: expected {', '.join(_NEEDED)} in it; {name} is missing")
    output = Path(order.output).expanduser()
    if output.exists():
        raise ModelError(f"{output}: is there already; name a folder that is not")
    graph = bert_graph(
        read_shape(source / "config.json"), read_safetensors(source / "model.safetensors")
    )
    output.mkdir(parents=True)
    try:
        write_onnx(graph, output / "encoder.onnx")
        _copy(source / "tokenizer.json", output / "tokenizer.json")
        _try(output)
        _describe(output, order)
    except BaseException:
        shutil.rmtree(output)
        raise
    print(f"{output}: sentence embeddings, tried with {len(_TRIAL)} texts")
    return 0


def _source(name: str) -> Path:
    if not name.startswith(_IN_PACKAGE):
        return Path(name).expanduser()
    package, _, path = name.removeprefix(_IN_PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise ModelError(
            f"the Python package {package!r} is not installed; install it, or name a folder"
        )
    return Path(next(iter(found.submodule_search_locations))) / path


def _copy(source: Path, destination: Path) -> None:
    try:
        destination.write_bytes(read_bytes(source, MAX_TOKENIZER_BYTES))
    except OSError as error:
        raise ModelError(f"{source}: cannot be copied ({error.strerror})") from error


def _try(folder: Path) -> None:
    with OrtBackend(folder / "encoder.onnx") as encoder:
        tokens = load_json_tokenizer(folder / "tokenizer.json")
        one, alike, other = SentenceEmbedding(encoder, tokens)(_TRIAL)
    if one @ alike <= one @ other:
        raise ModelError(
            f"{_TRIAL[0]!r} is nearer to {_TRIAL[2]!r} ({one @ other:.2f}) than to {_TRIAL[1]!r} "
            f"({one @ alike:.2f}); the weights are not those of a sentence encoder"
        )


def _describe(folder: Path, order: EmbeddingOptions) -> None:
    encoder, tokenizer = (sha256_of(folder / name) for name in ("encoder.onnx", "tokenizer.json"))
    (folder / DESCRIPTION_FILE).write_text(
        "task: embedding\n"
        f"licence: {order.licence!r}\n"
        f"source: {order.source!r}\n"
        "files:\n"
        f"  encoder: {{file: encoder.onnx, sha256: {encoder}}}\n"
        f"  tokenizer: {{file: tokenizer.json, sha256: {tokenizer}}}\n",
        encoding="utf-8",
    )

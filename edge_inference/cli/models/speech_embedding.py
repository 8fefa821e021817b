"""``edge-inference speech embedding``: writes a published sentence encoder as a model folder."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

from edge_inference.backends.ort import OrtBackend
from edge_inference.core.bounded_file import is_regular_file, read_bytes
from edge_inference.core.checksum import sha256_of
from edge_inference.engines.precision.onnx_file import write_onnx
from edge_inference.errors import ModelError
from edge_inference.optimize.sentence_encoder import (
    make_bert_graph,
    read_bert_config,
    read_safetensors,
)
from edge_inference.speech.language_model.json_tokenizer import (
    MAX_TOKENIZER_BYTES,
    load_json_tokenizer,
)
from edge_inference.speech.language_model.sentence_embedding import SentenceEmbedding
from edge_inference.speech.recognition.speech_model import DESCRIPTION_FILE

_IN_PACKAGE = "package:"
_REQUIRED_FILES = ("config.json", "model.safetensors", "tokenizer.json")
# The first two have the same meaning.
_TEST_TEXTS = ("go forward", "move ahead", "the soup is cold")


@dataclass(frozen=True)
class EmbeddingOptions:
    """The options of ``speech embedding``."""

    source: str
    output: str
    license: str


def export_embedding_model(options: EmbeddingOptions) -> int:
    """Write the folder and test its embeddings; return the exit code.

    Raises ModelError for a source that is not a BERT encoder, for an output that exists
    already, and for embeddings that do not separate texts of different meanings.
    """
    source = _source(options.source)
    for name in _REQUIRED_FILES:
        if not is_regular_file(source / name):
            raise ModelError(
                f"{source}: expected a folder with {', '.join(_REQUIRED_FILES)}; {name} is missing"
            )
    output = Path(options.output).expanduser()
    if output.exists():
        raise ModelError(f"{output}: expected a new folder, it exists already")
    graph = make_bert_graph(
        read_bert_config(source / "config.json"), read_safetensors(source / "model.safetensors")
    )
    output.mkdir(parents=True)
    try:
        write_onnx(graph, output / "encoder.onnx")
        _copy(source / "tokenizer.json", output / "tokenizer.json")
        _test(output)
        _describe(output, options)
    except BaseException:
        shutil.rmtree(output)
        raise
    print(f"{output}: sentence embeddings, tested with {len(_TEST_TEXTS)} texts")
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


def _test(folder: Path) -> None:
    with OrtBackend(folder / "encoder.onnx") as encoder:
        tokens = load_json_tokenizer(folder / "tokenizer.json")
        first, similar, other = SentenceEmbedding(encoder, tokens)(_TEST_TEXTS)
    if first @ similar <= first @ other:
        raise ModelError(
            f"{_TEST_TEXTS[0]!r} is closer to {_TEST_TEXTS[2]!r} ({first @ other:.2f}) than to "
            f"{_TEST_TEXTS[1]!r} ({first @ similar:.2f}); the weights are not those of a "
            "sentence encoder"
        )


def _describe(folder: Path, options: EmbeddingOptions) -> None:
    encoder, tokenizer = (sha256_of(folder / name) for name in ("encoder.onnx", "tokenizer.json"))
    (folder / DESCRIPTION_FILE).write_text(
        "task: embedding\n"
        f"license: {options.license!r}\n"
        f"source: {options.source!r}\n"
        "files:\n"
        f"  encoder: {{file: encoder.onnx, sha256: {encoder}}}\n"
        f"  tokenizer: {{file: tokenizer.json, sha256: {tokenizer}}}\n",
        encoding="utf-8",
    )

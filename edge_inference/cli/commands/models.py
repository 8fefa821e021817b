"""``edge-inference models``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference models
  edge-inference models --json
  edge-inference models check nanodet
  edge-inference models check my_models/mine --backend ort --precision fp32
  edge-inference models new yolov8n.onnx"""

_NEW_EXAMPLES = """\
examples:
  edge-inference models new yolov8n.onnx
  edge-inference models new exports/model.onnx my_models/mine --image desk.jpg --labels names.txt
  edge-inference models new mine.onnx --decoder my_package.corners:decode --task detection

The graph, the exporter's metadata and files beside the ONNX file (config.json,
preprocessor_config.json, infer_cfg.yml) say what the model is. What they do not say is assumed,
printed, and a comment in model.yaml. The model then runs once; nothing is written if it fails."""

_CHECK_EXAMPLES = """\
examples:
  edge-inference models check nanodet
  edge-inference models check nanodet --backend ort --precision int8

Missing files of the engine are made first, in the cache. The golden check compares the
results with those of the model folder; the self-check compares the numbers with those of
ONNX Runtime in fp32."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "models",
        _start_list,
        help="list models, check one, or make one from an ONNX file",
        description="List the models on the search path, or check some, or make a new one.",
        epilog=_EXAMPLES,
    )
    given.add_model_path(parser)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, one for each model"
    )
    actions = parser.add_subparsers(dest="action", metavar="check|new")
    check = given.add_command(
        actions,
        "check",
        _start_check,
        help="verify a model's files and check its results",
        description="Verify the files, open the model and check its results.",
        epilog=_CHECK_EXAMPLES,
    )
    check.add_argument("names", nargs="+", metavar="NAME|PATH", help="models to check")
    given.add_model_path(check, argparse.SUPPRESS)
    given.add_engine(check)
    given.add_bounds(check, "names", timeout_s=600)
    _add_new(actions)


def _add_new(actions: Commands) -> None:
    new = given.add_command(
        actions,
        "new",
        _start_new,
        help="write the model.yaml of an ONNX file",
        description="Write the model folder of an ONNX file, and run one image through it.",
        epilog=_NEW_EXAMPLES,
    )
    text = given.non_empty_text
    new.add_argument("file", type=text, metavar="FILE.onnx", help="the exported model")
    new.add_argument(
        "folder", nargs="?", type=text, metavar="DIR", help="folder to write; default: ./FILE"
    )
    new.add_argument("--image", type=text, metavar="FILE", help="image to try; default: a sample")
    new.add_argument("--task", type=text, help="detection, classification, …")
    new.add_argument("--decoder", type=text, help="decoder, if the proposal is wrong")
    new.add_argument("--labels", type=text, metavar="FILE", help="names of the classes")
    new.add_argument("--name", type=text, help="name of the model, instead of DIR")
    new.add_argument(
        "--extra-input",
        type=_extra_input,
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="value of a further input of the graph, such as 'sizes=[[640, 640]]'",
    )
    new.add_argument("--force", action="store_true", help="replace files that exist")
    new.add_argument(
        "--json", dest="as_json", action="store_true", help="one JSON object instead of text"
    )
    given.add_bounds(new, "file", timeout_s=600)


def _extra_input(text: str) -> tuple[str, object]:
    from edge_inference.core.bounded_file import parse_json

    name, _, values = text.partition("=")
    try:
        return name, parse_json(values)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUES such as 'sizes=[[640, 640]]', got {text!r}"
        ) from None


def _start_list(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.show_models import list_models

    return list_models(options.model_path, as_json=options.json)


def _start_new(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.exports.new_model import NewModelOptions, new_model

    def path(text: str | None) -> Path | None:
        return None if text is None else Path(text)

    return new_model(
        NewModelOptions(
            file=Path(options.file),
            folder=path(options.folder),
            image=path(options.image),
            labels=path(options.labels),
            task=options.task or "",
            decoder=options.decoder or "",
            name=options.name or "",
            extra_inputs=dict(options.extra_input),
            force=options.force,
            as_json=options.as_json,
        )
    )


def _start_check(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.check_models import check_models

    return check_models(
        options.names, options.model_path, options.backend, options.precision, options.int8_mode
    )

"""``edge-inference profile``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.exit_status import UsageError

_EXAMPLES = """\
examples:
  edge-inference profile --model nanodet --backend ort --precision int8
  edge-inference profile --model nanodet --top 20 --trace layers.html
  edge-inference profile --pipeline perception --source sample --seconds 10 --trace run.html
  edge-inference profile --pipeline voice --source sample --trace run.json.gz
  edge-inference profile --live --seconds 10 --trace robot.html

With --model: the time of each layer in one engine, and what to change. With --pipeline:
a pipeline runs in this process, and its stages and threads are measured; --live watches
one that runs already.

A trace that ends in .html is a page that shows itself, without a network. One that ends
in .json or .json.gz is for ui.perfetto.dev or chrome://tracing.

exit codes: 0 profiled; 1 failed, or no frame came; 2 wrong usage; 130 interrupted."""

#: Options that observe a pipeline, and do not load a model in this command.
_PIPELINE = ("--pipeline", "--live")


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "profile",
        _start,
        help="show where the time of a model or a pipeline goes",
        description="Measure the layers of a model, or the stages and threads of a pipeline.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--model", type=given.non_empty_text, metavar="NAME|PATH", help="model, by name or path"
    )
    given.add_engine(parser)
    given.add_model_path(parser)
    parser.add_argument(
        "--trace",
        type=given.non_empty_text,
        metavar="FILE",
        help="write a trace: .html, .json or .json.gz",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    _add_model_options(parser)
    _add_pipeline_options(parser)
    if not any(word.partition("=")[0] in _PIPELINE for word in arguments):
        given.add_bounds(parser, "model", timeout_s=3600)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("layers of a model")
    group.add_argument(
        "--runs", type=given.whole_number(1), metavar="N", help="measured runs; default: 20"
    )
    group.add_argument(
        "--top", type=given.whole_number(1), metavar="N", help="layers to show; default: 10"
    )
    group.add_argument(
        "--threads",
        type=given.whole_number(1),
        metavar="N",
        help="threads of an engine on the CPU; default: 1",
    )
    group.add_argument(
        "--gpu", type=given.whole_number(0), metavar="N", help="GPU index; default: 0"
    )


def _add_pipeline_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("stages and threads of a pipeline")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--pipeline",
        type=given.non_empty_text,
        metavar="NAME",
        help="run a pipeline in this process: perception, voice, or a file",
    )
    which.add_argument(
        "--live", action="store_true", help="watch the pipeline that runs in other processes"
    )
    group.add_argument(
        "--namespace",
        type=given.non_empty_text,
        metavar="NAME",
        help="namespace of the live pipeline, where several run",
    )
    group.add_argument(
        "--source",
        type=given.non_empty_text,
        help="images or audio of the pipeline, as for edge-inference run; files play in real time",
    )
    group.add_argument(
        "--rate",
        type=given.number_between(0.001, 1000.0),
        metavar="HZ",
        help="images per second from files; default: their own",
    )
    group.add_argument(
        "--seconds",
        type=given.number_between(0.1, 3600.0),
        metavar="N",
        help="time to measure; default: 10",
    )
    group.add_argument(
        "--stacks",
        type=given.non_empty_text,
        metavar="FILE",
        help="also sample the Python stacks with py-spy: .svg flame graph, .json speedscope, .txt",
    )
    group.add_argument(
        "--nvtx",
        action="store_true",
        help="mark each stage for Nsight Systems (nsys profile edge-inference profile …)",
    )
    group.add_argument("--verbose", action="store_true", help="the nodes' own log on stderr")


#: Options by what they are for; each is refused for the others.
_OF_MODEL = ("runs", "top", "threads", "gpu")
_OF_ANY_PIPELINE = ("seconds", "verbose")
_OF_OWN_PIPELINE = ("source", "rate", "stacks", "nvtx")
_OF_ENGINE = ("backend", "precision", "int8_mode", "model_path")


def _start(options: argparse.Namespace, started_s: float) -> int:
    if options.pipeline is None and not options.live:
        return _start_model(options)
    _refuse(options, _OF_MODEL, "--model without --pipeline")
    if options.live:
        _refuse(options, (*_OF_OWN_PIPELINE, "model"), "--pipeline")
        _refuse_engine(options)
    else:
        _refuse(options, ("namespace",), "--live")
    from edge_inference.cli.profile.pipeline_options import PipelineProfileOptions
    from edge_inference.cli.profile.profile_pipeline import profile_pipeline

    return profile_pipeline(
        PipelineProfileOptions(**_given(options, PipelineProfileOptions)), as_json=options.json
    )


def _start_model(options: argparse.Namespace) -> int:
    if options.model is None:
        raise UsageError(
            "expected --model, --pipeline or --live, got none of them; for example "
            "edge-inference profile --model nanodet"
        )
    pipeline_options = (*_OF_ANY_PIPELINE, *_OF_OWN_PIPELINE, "namespace")
    _refuse(options, pipeline_options, "--pipeline or --live")
    from edge_inference.cli.profile.profile_model import ModelProfileOptions, profile_model

    return profile_model(
        ModelProfileOptions(**_given(options, ModelProfileOptions)), as_json=options.json
    )


def _given(options: argparse.Namespace, kind: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(options).items()
        if name in kind.__dataclass_fields__ and value is not None
    }


def _refuse(options: argparse.Namespace, names: Sequence[str], needed: str) -> None:
    for name in names:
        if getattr(options, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} is for {needed}")


def _refuse_engine(options: argparse.Namespace) -> None:
    for name in _OF_ENGINE:
        if getattr(options, name) not in (None, "", "auto"):
            raise UsageError(
                f"--{name.replace('_', '-')} is for --pipeline; a live pipeline has its engine"
            )

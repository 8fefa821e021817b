"""``edge-inference engine``: TensorRT engines and their cache."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference engine build nanodet
  edge-inference engine inspect nanodet
  edge-inference engine check nanodet
  edge-inference engine list
  edge-inference engine clean"""

_BUILD_EXAMPLES = """\
examples:
  edge-inference engine build nanodet
  edge-inference engine build nanodet --precision int8 --optimization-level 5
  edge-inference engine build my_model --batch 1:4:8 --output my_model.plan
  edge-inference engine build --onnx my.onnx --profile x:1x3x64x64,4x3x64x64,8x3x64x64 \\
    --output my.plan

Without --output the engine is stored in the cache, where the inference node finds it.
Ctrl-C cancels a build; no file remains.

exit codes: 0 built, or in the cache already; 1 failed; 2 wrong usage; 130 interrupted."""

_INSPECT_EXAMPLES = """\
examples:
  edge-inference engine inspect nanodet --precision fp16
  edge-inference engine inspect my.plan --layers
  edge-inference engine inspect my.plan --json"""

_CHECK_EXAMPLES = """\
examples:
  edge-inference engine check nanodet
  edge-inference engine check my.plan
  edge-inference engine check nanodet --backend ort --precision int8

The plan must fit this machine and match its sidecar. If it can run here, it must also
pass the golden check (the results of the model folder) and the self-check (the numbers of
ONNX Runtime in fp32).

exit codes: 0 passed; 1 failed, with the reason; 2 wrong usage."""

_LIST_EXAMPLES = """\
examples:
  edge-inference engine list
  edge-inference engine list --verify --json"""

_CLEAN_EXAMPLES = """\
examples:
  edge-inference engine clean
  edge-inference engine clean --limit 2GiB
  edge-inference engine clean --all
  edge-inference engine clean --costs

Damaged entries are removed, too, except with --costs. Entries in use stay. A removed entry
is made again when it is needed."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "engine",
        None,
        help="build, inspect and check TensorRT engines; list and clean the cache",
        description="Build, inspect and check TensorRT engines; list and clean their cache.",
        epilog=_EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)
    _add_build(actions, with_flags="build" in arguments)
    _add_inspect(actions)
    _add_check(actions)
    _add_list(actions)
    _add_clean(actions)


def _add_build(actions: Commands, with_flags: bool) -> None:
    parser = given.add_command(
        actions,
        "build",
        _start_build,
        help="build an engine from a model or an ONNX file",
        description="Build a TensorRT engine for this machine.",
        epilog=_BUILD_EXAMPLES,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="model, by name or path")
    parser.add_argument(
        "--onnx", type=given.non_empty_text, metavar="FILE", help="instead of a model"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="default: fp16, as of the inference node; fp32 for an ONNX file",
    )
    parser.add_argument(
        "--output",
        type=given.non_empty_text,
        metavar="FILE",
        help="file of the plan; default: in the cache",
    )
    parser.add_argument(
        "--timing-cache",
        type=given.non_empty_text,
        metavar="FILE",
        help="timing cache; default: a file in the cache for all models",
    )
    given.add_gpu(parser)
    given.add_model_path(parser)
    given.add_bounds(parser, "model", timeout_s=4 * 3600)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    if with_flags:  # slow to import
        from edge_inference.cli.models.build_flags import add_build_flags

        add_build_flags(parser)


def _add_inspect(actions: Commands) -> None:
    parser = given.add_command(
        actions,
        "inspect",
        _start_inspect,
        help="show the metadata of an engine",
        description="Show the metadata of an engine, from its sidecar.",
        epilog=_INSPECT_EXAMPLES,
    )
    _add_plan(parser)
    parser.add_argument("--layers", action="store_true", help="list each layer with its precision")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _add_check(actions: Commands) -> None:
    parser = given.add_command(
        actions,
        "check",
        _start_check,
        help="check that an engine fits this machine and gives correct results",
        description="Check that an engine fits this machine and gives correct results.",
        epilog=_CHECK_EXAMPLES,
    )
    _add_plan(parser)
    parser.add_argument(
        "--backend",
        help="backend of a model: trt (default), ort, ort-cuda, or that of an installed package",
    )
    given.add_bounds(parser, "plan", timeout_s=600)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "plan", metavar="PLAN|MODEL", help="plan, or model with a plan in the cache"
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="precision of a model; default: that of the backend, fp16 for trt",
    )
    given.add_gpu(parser)
    given.add_model_path(parser)


def _add_list(actions: Commands) -> None:
    parser = given.add_command(
        actions,
        "list",
        _start_list,
        help="list the cache",
        description="List the engines and derived models in the cache, last used first.",
        epilog=_LIST_EXAMPLES,
    )
    parser.add_argument(
        "--verify", action="store_true", help="verify every file, not only its length"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line, one for each entry"
    )


def _add_clean(actions: Commands) -> None:
    parser = given.add_command(
        actions,
        "clean",
        _start_clean,
        help="remove damaged and excess entries from the cache",
        description="Remove damaged entries, then the least recently used beyond the limit.",
        epilog=_CLEAN_EXAMPLES,
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument(
        "--all",
        action="store_true",
        help="remove everything: entries, timing caches and measured costs",
    )
    scope.add_argument("--damaged", action="store_true", help="remove damaged entries only")
    scope.add_argument("--costs", action="store_true", help="remove only the measured costs")
    scope.add_argument(
        "--limit", type=_size, metavar="SIZE", help="limit of the cache, as in 2GiB; default: 8GiB"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def _size(text: str) -> int:
    from edge_inference.cli.sizes import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _start_build(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.build_flags import given_build_options
    from edge_inference.cli.models.engine_build import EngineBuildOptions, build

    build_request = EngineBuildOptions(
        model=options.model,
        onnx=options.onnx,
        precision=options.precision,
        build_options=given_build_options(options),
        gpu=options.gpu,
        output=options.output,
        timing_cache=options.timing_cache,
        model_path=options.model_path,
    )
    return build(build_request, as_json=options.json)


def _start_inspect(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.engine_inspect import inspect_engine
    from edge_inference.cli.models.engine_plans import find_plan

    plan = find_plan(options.plan, options.precision, options.gpu, options.model_path)
    return inspect_engine(plan, options.gpu, with_layers=options.layers, as_json=options.json)


def _start_check(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.check_engine import check_plan_or_model

    return check_plan_or_model(
        options.plan, options.backend, options.precision, options.gpu, options.model_path
    )


def _start_list(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.engine_cache import list_cache

    return list_cache(verify=options.verify, as_json=options.json)


def _start_clean(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.models.engine_cache import clean_cache

    limit = 0 if options.all else options.limit
    return clean_cache(
        limit, damaged_only=options.damaged, as_json=options.json, costs_only=options.costs
    )

"""``edge-inference benchmark``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference benchmark --model nanodet
  edge-inference benchmark --model nanodet --backend ort --precision fp32 --against ort:int8
  edge-inference benchmark --model nanodet --rates 5,10,20 --saturation --html nanodet.html
  edge-inference benchmark --model nanodet --pipeline perception --source sample --rates 10
  edge-inference benchmark --model nanodet --json before.json
  edge-inference benchmark --compare before.json after.json --fail-above 5%

Without --pipeline the engine alone is measured: bare inference, and no ROS is needed. With
it, every frame from capture to result. A preflight (see doctor) tells what spoils figures.
Candidates are interleaved. p99 needs 100 samples, p99.9 needs 1000.

exit codes: 0 measured or compared; 1 failed, a candidate failed, or --fail-above found a
regression; 2 wrong usage; 3 the reports to compare were not measured alike; 130 interrupted,
with a partial report if anything was measured."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "benchmark",
        _start,
        help="measure an engine or a pipeline under load, or compare measurements",
        description="Measure latency, rate, CPU time and energy of engines and pipelines.",
        epilog=_EXAMPLES,
    )
    _add_candidates(parser)
    _add_load(parser)
    _add_reports(parser)
    if "--compare" not in arguments:
        given.add_bounds(parser, "model", timeout_s=3600, grace_s=given.REPORTING_GRACE_S)


def _add_candidates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="MODEL", help="model, by name or path")
    given.add_engine(parser)
    parser.add_argument(
        "--against",
        type=_engine,
        nargs="+",
        action="extend",
        default=[],
        metavar="BACKEND:PRECISION",
        help="further engines, measured in the same run and compared with the first",
    )
    parser.add_argument(
        "--batch",
        type=given.whole_number(1),
        default=1,
        metavar="N",
        help="images of one inference; default: 1",
    )
    given.add_threads(parser)
    given.add_gpu(parser)
    given.add_model_path(parser)


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source",
        type=given.non_empty_text,
        metavar="SOURCE",
        help="an image, a folder, a video or sample; default: the model's golden images",
    )
    parser.add_argument(
        "--pipeline", default="", metavar="NAME", help="measure a whole pipeline: perception"
    )
    parser.add_argument(
        "--rates",
        type=_rates,
        default=(),
        metavar="HZ,HZ",
        help="offer frames at fixed rates, such as 5,10,20",
    )
    parser.add_argument(
        "--saturation",
        action="store_true",
        help="find the highest rate with under 5%% of the frames dropped",
    )
    parser.add_argument(
        "--seconds",
        type=given.number_between(0.1, 86400),
        default=10.0,
        metavar="N",
        help="time for each candidate under each load; default: 10",
    )
    parser.add_argument(
        "--no-agreement",
        action="store_true",
        help="do not play a video once more for the streaming agreement",
    )
    parser.add_argument("--verbose", action="store_true", help="show the log of the nodes")


def _add_reports(parser: argparse.ArgumentParser) -> None:
    for flag, text in (
        ("--json", "write the report, for --compare"),
        ("--html", "write the report with plots as one page"),
        ("--r2b", "write the figures in the layout of ros2_benchmark (JSON)"),
    ):
        parser.add_argument(flag, type=given.non_empty_text, metavar="FILE", help=text)
    parser.add_argument(
        "--compare",
        type=given.non_empty_text,
        nargs=2,
        metavar=("A.json", "B.json"),
        help="compare two reports of this command instead of measuring",
    )
    parser.add_argument(
        "--allow-different",
        action="store_true",
        help="compare reports of unlike environments, too, and list the differences",
    )
    parser.add_argument(
        "--fail-above",
        type=_percentage,
        metavar="PERCENT",
        help="with --compare: exit code 1 if a figure is shown to be worse by more, such as 5%%",
    )


def _engine(text: str) -> tuple[str, str]:
    backend, _, precision = text.partition(":")
    if not backend or not precision or ":" in precision:
        raise argparse.ArgumentTypeError(
            f"expected a backend and a precision such as ort:int8, got {text!r}"
        )
    return backend, precision


def _rates(text: str) -> tuple[float, ...]:
    rate = given.number_between(0.1, 1000)
    return tuple(dict.fromkeys(rate(part.strip()) for part in text.split(",")))


def _percentage(text: str) -> float:
    return given.number_between(0, 1000)(text.removesuffix("%").strip()) / 100


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.exit_status import UsageError

    if options.compare is not None:
        from edge_inference.cli.benchmark.compare_reports import compare_files

        if options.model is not None:
            raise UsageError("--compare reads two reports and measures nothing; omit --model")
        return compare_files(
            *options.compare,
            allow_different=options.allow_different,
            fail_above=options.fail_above,
            html=options.html,
            json_file=options.json,
        )
    for flag, is_given in (
        ("--fail-above", options.fail_above is not None),
        ("--allow-different", options.allow_different),
    ):
        if is_given:
            raise UsageError(f"{flag} is for --compare A.json B.json")
    if options.model is None:
        raise UsageError("expected --model NAME to measure, or --compare A.json B.json")
    from edge_inference.cli.benchmark.benchmark_options import BenchmarkOptions
    from edge_inference.cli.benchmark.run_benchmark import run_benchmark

    values = {
        name: value
        for name, value in vars(options).items()
        if name in BenchmarkOptions.__dataclass_fields__
    }
    return run_benchmark(BenchmarkOptions(**{**values, "against": tuple(options.against)}))

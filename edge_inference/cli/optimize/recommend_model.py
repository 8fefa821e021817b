"""``edge-inference optimize recommend``."""

from __future__ import annotations

import argparse

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands
from edge_inference.cli.optimize.show_tradeoff import add_measuring

_EXAMPLES = """\
examples:
  edge-inference optimize recommend mine.json --min-accuracy 0.92 --max-latency-ms 30
  edge-inference optimize recommend mine mine_small --images by_class/ --min-accuracy 0.92 \\
      --max-latency-ms 30

A FILE.json that `optimize tradeoff --save` wrote is read; models are measured first. The
fastest point that meets both bounds is recommended. It is accurate enough if the accuracy is at
least the bound with the confidence that the number of images gives (Wilson's lower limit), and
fast enough if the 95th percentile, or the median of CPU time, times the margin, is within the
bound. Of points whose times differ by less than 5 % it is the most accurate, then the smallest.

exit codes: 0 recommended; 1 failed, or no point meets both bounds: the best that can be
reached is printed; 2 wrong usage; 130 interrupted."""


def add(actions: Commands) -> None:
    """Add the action."""
    parser = given.add_command(
        actions,
        "recommend",
        _start,
        help="choose the operating point that meets an accuracy and a latency",
        description="Choose the operating point that meets an accuracy and a latency.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "models", nargs="+", metavar="FILE|MODEL", help="a saved trade-off, or models to measure"
    )
    parser.add_argument(
        "--min-accuracy",
        required=True,
        type=given.number_between(0.0, 1.0),
        metavar="SHARE",
        help="lowest accuracy, as a share: 0.92",
    )
    parser.add_argument(
        "--max-latency-ms",
        required=True,
        type=given.number_between(1e-6, 1e9),
        metavar="MS",
        help="longest time of one inference",
    )
    parser.add_argument(
        "--confidence",
        type=given.number_between(0.5, 0.9999),
        default=0.9,
        metavar="SHARE",
        help="how sure the accuracy must be; 0.5 takes the measured one; default: 0.9",
    )
    parser.add_argument(
        "--margin",
        type=given.number_between(1.0, 10.0),
        default=1.1,
        metavar="FACTOR",
        help="reserve of the latency; default: 1.1",
    )
    parser.add_argument(
        "--any-machine",
        action="store_true",
        help="use the times of a file that was measured on another machine",
    )
    add_measuring(parser)


def _start(options: argparse.Namespace, started_s: float) -> int:
    from edge_inference.cli.optimize.run_tradeoff import run_recommend

    return run_recommend(options)

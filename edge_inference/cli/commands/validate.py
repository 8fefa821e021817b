"""``edge-inference validate``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edge_inference.cli import arguments as given
from edge_inference.cli.arguments import Commands

_EXAMPLES = """\
examples:
  edge-inference validate specification
  edge-inference validate specification --scenario vision --seconds 60
  edge-inference validate my_targets.yaml --pipeline perception --source corridor.mp4
  edge-inference validate my_targets.yaml --live --junit report.xml

Each value has a confidence interval. PASS: the whole interval meets the bound. FAIL: all of it
misses the bound. INCONCLUSIVE: it contains the bound, or the samples are too few (a p99 needs
some 300). NOT MEASURED: no sensor, no such stage, or the pipeline did not start.

exit codes: 0 all required targets passed; 1 one failed; 2 wrong usage, or an invalid file; 3 none
failed, but a required one is inconclusive or not measured. Ctrl-C ends the run and judges what was
measured by then."""


def add(commands: Commands, arguments: Sequence[str]) -> None:
    """Add the command."""
    parser = given.add_command(
        commands,
        "validate",
        _start,
        help="measure a pipeline and judge it by targets: PASS, FAIL, INCONCLUSIVE",
        description="Run the scenarios of a file, or observe a running pipeline, and judge the "
        "file's targets.",
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "targets",
        type=given.non_empty_text,
        metavar="TARGETS",
        help="YAML file of targets, or the name of a shipped one (specification)",
    )
    parser.add_argument(
        "--pipeline",
        type=given.non_empty_text,
        metavar="NAME|FILE",
        help="pipeline to run; default: that of each scenario",
    )
    parser.add_argument(
        "--source",
        type=given.non_empty_text,
        help="its source; default: that of each scenario",
    )
    parser.add_argument(
        "--seconds",
        type=given.number_between(1.0, 86_400.0),
        metavar="N",
        help="time of measurement; default: that of each scenario",
    )
    parser.add_argument(
        "--scenario",
        type=given.non_empty_text,
        action="append",
        default=[],
        metavar="NAME",
        help="only this scenario; may be repeated",
    )
    parser.add_argument("--live", action="store_true", help="observe the pipeline that runs now")
    parser.add_argument(
        "--namespace",
        type=given.non_empty_text,
        metavar="NAME",
        help="namespace of the running pipeline, where several run",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument(
        "--junit", type=given.non_empty_text, metavar="FILE", help="write JUnit XML"
    )


def _start(options: argparse.Namespace, started_s: float) -> int:
    del started_s
    from edge_inference.cli.validate.validation import ValidateOptions, validate

    values = {
        name: value
        for name, value in vars(options).items()
        if name in ValidateOptions.__dataclass_fields__ and value is not None
    }
    return validate(ValidateOptions(**{**values, "scenario": tuple(options.scenario)}))

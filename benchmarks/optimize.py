"""What quantization, pruning, distillation and the choice among them are worth on this machine.

Each part measures both sides in one run: CPU time of one thread, interleaved. ``--part`` runs
only one of them, and may be repeated.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence

from benchmarks.report import Report

#: Each is a module ``benchmarks.optimize_<part>`` with ``measure(report)``.
PARTS = ("quantization", "placement", "pruning", "distillation", "tradeoff", "recipe")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    report = Report("optimize", argv, __doc__, _add_arguments)
    for part in report.arguments.part or PARTS:
        started = time.monotonic()
        importlib.import_module(f"benchmarks.optimize_{part}").measure(report)
        report.figure(f"duration of {part}", time.monotonic() - started, "s")
    return report.finish()


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part")


if __name__ == "__main__":
    sys.exit(main())

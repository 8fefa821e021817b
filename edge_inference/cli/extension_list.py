"""``edge-inference extensions``: lists what installed packages add, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from typing import Any

from edge_inference.cli.exit_status import print_error
from edge_inference.core.decoders import DECODERS
from edge_inference.core.entry_points import PREFIX
from edge_inference.core.extension_table import (
    Extension,
    ExtensionTable,
    problems_of_packages,
)
from edge_inference.core.results import RESULT_KINDS
from edge_inference.core.text_line import one_line
from edge_inference.engines.serving.backend_table import BACKENDS
from edge_inference.platforms.sensors.probes import SENSOR_PROBES
from edge_inference.speech.actions.executor import EXECUTORS
from edge_inference.speech.actions.table import ACTIONS

TABLES: tuple[ExtensionTable[Any], ...] = (
    RESULT_KINDS,
    DECODERS,
    BACKENDS,
    ACTIONS,
    EXECUTORS,
    SENSOR_PROBES,
)


def list_extensions(as_json: bool) -> int:
    """Print every entry point; return 1 if one cannot be used."""
    listed = [(table.group, each) for table in TABLES for each in table.extensions()]
    if as_json:
        for group, extension in listed:
            sys.stdout.write(json.dumps({"group": group, **vars(extension)}) + "\n")
    else:
        _print(listed)
    problems = [extension.problem for _, extension in listed if extension.problem]
    problems += problems_of_packages(table.group for table in TABLES)
    for problem in problems:
        print_error(problem)
    return 1 if problems else 0


def _print(listed: list[tuple[str, Extension]]) -> None:
    rows = [
        [
            one_line(cell)
            for cell in (group.removeprefix(PREFIX), each.name, each.package, each.value)
        ]
        for group, each in listed
        if not each.problem
    ]
    if not rows:
        sys.stdout.write("no installed package adds anything\n")
        return
    rows.insert(0, ["group", "name", "package", "defined in"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")

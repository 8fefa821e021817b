"""``edge-inference doctor``: examines the machine and prints the findings."""

from __future__ import annotations

import json
import sys

from edge_inference.cli.doctor.doctor_format import (
    finding_as_json,
    print_findings,
    summary_as_json,
)
from edge_inference.cli.doctor.graph_check import examine_graph
from edge_inference.cli.doctor.platform_checks import examine_platform
from edge_inference.cli.exit_status import EXIT_FAILED
from edge_inference.observe.doctor.examination import examine
from edge_inference.observe.doctor.finding import Finding, FindingLevel, worst_level


def run_doctor(as_json: bool, with_graph: bool) -> int:
    """Print all findings; return 1 if one of them is a problem, else 0."""
    findings = preflight()
    if with_graph:
        findings = sorted_by_area([*findings, *examine_graph()])
    if as_json:
        for finding in findings:
            sys.stdout.write(json.dumps(finding_as_json(finding)) + "\n")
        sys.stdout.write(json.dumps({"summary": summary_as_json(findings)}) + "\n")
    else:
        print_findings(findings, sys.stdout)
    return EXIT_FAILED if worst_level(findings) is FindingLevel.PROBLEM else 0


def preflight() -> list[Finding]:
    """Return the findings of this machine, without those of the ROS 2 graph."""
    return sorted_by_area([*examine(), *examine_platform()])


def sorted_by_area(findings: list[Finding]) -> list[Finding]:
    """Return the findings with those of one area together, areas in order of appearance."""
    areas = list(dict.fromkeys(finding.area for finding in findings))
    return sorted(findings, key=lambda finding: areas.index(finding.area))

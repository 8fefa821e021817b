"""Verdicts as JSON, and as JUnit XML for servers of continuous integration."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from edge_inference.observe.targets.verdict import Judgment, Verdict, exit_code

# Everything that XML 1.0 excludes; a reason may quote a text from outside.
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def judgments_as_json(judgments: Sequence[Judgment]) -> dict[str, Any]:
    """Return all verdicts, their counts and the exit code."""
    counts = Counter(each.verdict for each in judgments)
    return {
        "exit_code": exit_code(judgments),
        "counts": {verdict.value: counts[verdict] for verdict in Verdict},
        "targets": [_judgment_as_json(each) for each in judgments],
    }


def _judgment_as_json(judgment: Judgment) -> dict[str, Any]:
    target, interval = judgment.target, judgment.interval
    return {
        "scenario": judgment.scenario,
        "target": target.label,
        "what": target.what,
        "where": target.where or None,
        "statistic": target.statistic or None,
        "deadline_ms": target.deadline_ms,
        "unit": target.measure.unit or None,
        "max": target.bound if target.is_maximum else None,
        "min": None if target.is_maximum else target.bound,
        "required": target.required,
        "confidence": target.confidence,
        "verdict": judgment.verdict.value,
        "reason": judgment.reason or None,
        "value": None if interval is None else interval.value,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "margin": judgment.margin,
        "samples": None if interval is None else interval.samples,
        "effective_samples": None if interval is None else interval.effective,
        "note": target.note or None,
    }


def to_junit(name: str, judgments: Sequence[Judgment]) -> bytes:
    """Return JUnit XML: a test suite for each scenario, a test case for each target.

    A failed target is a failure. One without a verdict is an error, because it was not shown to be
    met. Targets that are not required are skipped where they do not pass.
    """
    root = ElementTree.Element("testsuites", name=_clean(name))
    scenarios = dict.fromkeys(each.scenario for each in judgments)
    _set_counts(root, judgments)
    for scenario in scenarios:
        own = [each for each in judgments if each.scenario == scenario]
        suite = ElementTree.SubElement(root, "testsuite", name=_clean(scenario))
        _set_counts(suite, own)
        for each in own:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=_clean(f"{name}.{scenario}"),
                name=_clean(each.target.label),
                time="0",
            )
            tag = _junit_tag(each)
            if tag:
                text = _clean(describe(each))
                ElementTree.SubElement(case, tag, message=text)
            output = ElementTree.SubElement(case, "system-out")
            output.text = _clean(describe(each))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _set_counts(element: ElementTree.Element, judgments: Sequence[Judgment]) -> None:
    tags = Counter(map(_junit_tag, judgments))
    element.set("tests", str(len(judgments)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(tags[tag]))
    element.set("time", "0")


def _junit_tag(judgment: Judgment) -> str:
    if judgment.verdict is Verdict.PASS:
        return ""
    if not judgment.target.required:
        return "skipped"
    return "failure" if judgment.verdict is Verdict.FAIL else "error"


def describe(judgment: Judgment) -> str:
    """Return a verdict as a line of text."""
    interval, unit = judgment.interval, judgment.target.measure.unit
    parts = [judgment.verdict.value]
    if interval is not None:
        value = f"{format_figure(interval.value)} {unit}".rstrip()
        parts.append(f"{value}, interval {format_ends(judgment)}, {interval.samples} samples")
    if judgment.reason:
        parts.append(judgment.reason)
    return ": ".join([parts[0], "; ".join(parts[1:])]) if parts[1:] else parts[0]


def format_ends(judgment: Judgment) -> str:
    """Return the ends of the interval; an unknown end is open."""
    interval = judgment.interval
    if interval is None:
        return ""
    low, high = (
        "…" if end is None else format_figure(end) for end in (interval.low, interval.high)
    )
    return low if low == high != "…" else f"{low} to {high}"


def format_figure(value: float) -> str:
    """Return a number with about four significant digits."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)

"""Verdicts, exit codes and reports."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from edge_inference.observe.statistics.intervals import Interval
from edge_inference.observe.targets.target_report import judgments_as_json, to_junit
from edge_inference.observe.targets.verdict import Judgment, Verdict, exit_code, judge
from target_kit import target

PASS, FAIL = Verdict.PASS, Verdict.FAIL
OPEN, NONE = Verdict.INCONCLUSIVE, Verdict.NOT_MEASURED


@pytest.mark.parametrize(
    ("low", "high", "at_most", "at_least"),
    [
        (8.0, 9.0, PASS, FAIL),
        (8.0, 10.0, PASS, OPEN),  # a bound is inclusive
        (10.0, 12.0, OPEN, PASS),
        (11.0, 12.0, FAIL, PASS),
        (9.0, 11.0, OPEN, OPEN),
        (None, 9.0, PASS, FAIL),
        (8.0, None, OPEN, OPEN),
        (11.0, None, FAIL, PASS),
        (None, None, OPEN, OPEN),
    ],
)
def test_the_whole_interval_decides(
    low: float | None, high: float | None, at_most: Verdict, at_least: Verdict
) -> None:
    interval = Interval(9.5, low, high, 100, 100.0)
    most = judge("a", target("queue_ms", "x"), interval)
    least = judge("a", target("queue_ms", "x", is_maximum=False), interval)
    assert (most.verdict, least.verdict) == (at_most, at_least)
    assert (most.margin, least.margin) == (0.5, -0.5)
    assert bool(most.reason) == (at_most is OPEN)


def test_reasons() -> None:
    few = judge("a", target("queue_ms", "x"), Interval(1.0, None, None, 5, 5.0))
    assert few.reason == "too few samples (5)"
    dependent = judge("a", target("queue_ms", "x"), Interval(1.0, 0.0, None, 500, 40.2))
    assert dependent.reason == "too few samples (500, worth 40)"
    close = judge("a", target("queue_ms", "x"), Interval(1.0, 9.0, 11.0, 500, 500.0))
    assert close.reason == "the interval contains the bound"
    missing = judge("a", target("queue_ms", "x"), "no sensor")
    assert (missing.verdict, missing.reason, missing.margin) == (NONE, "no sensor", None)


def judgment(verdict: Verdict, required: bool = True) -> Judgment:
    interval = None if verdict is NONE else Interval(1.0, 0.5, None, 9, 9.0)
    return Judgment("a", target("queue_ms", "x", required=required), verdict, interval, "why")


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([PASS, PASS], 0),
        ([PASS, FAIL], 1),
        ([PASS, OPEN], 3),
        ([PASS, NONE], 3),
        ([OPEN, FAIL, NONE], 1),
    ],
)
def test_exit_codes(verdicts: list[Verdict], code: int) -> None:
    assert exit_code(map(judgment, verdicts)) == code
    optional = [judgment(each, required=False) for each in Verdict]
    assert exit_code([*map(judgment, verdicts), *optional]) == code


def test_json_has_every_figure() -> None:
    report = judgments_as_json([judgment(OPEN), judgment(NONE), judgment(FAIL, required=False)])
    assert report["exit_code"] == 3
    assert report["counts"] == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 1, "NOT MEASURED": 1}
    opened, missing, _ = report["targets"]
    assert (opened["value"], opened["low"], opened["high"], opened["margin"]) == (1, 0.5, None, 9)
    assert (opened["max"], opened["min"], opened["unit"]) == (10.0, None, "ms")
    assert missing["value"] is None and missing["reason"] == "why"
    json.dumps(report, allow_nan=False)


def test_junit_is_valid_and_counts() -> None:
    judgments = [
        judgment(PASS),
        judgment(FAIL),
        judgment(OPEN),
        judgment(NONE),
        judgment(FAIL, required=False),
        Judgment("b", target("queue_ms", "x"), NONE, None, 'a "stage" <\x1b[31m&\ud800>'),
    ]
    root = ElementTree.fromstring(to_junit("tri\x00al", judgments))
    assert root.tag == "testsuites"
    assert [root.get(name) for name in ("tests", "failures", "errors", "skipped")] == [
        "6", "1", "3", "1"
    ]  # fmt: skip
    first, second = root.findall("testsuite")
    assert (first.get("name"), second.get("name")) == ("a", "b")
    children = [[child.tag for child in case] for case in first]
    assert children == [
        ["system-out"],
        ["failure", "system-out"],
        ["error", "system-out"],
        ["error", "system-out"],
        ["skipped", "system-out"],
    ]
    case = second.find("testcase")
    assert case is not None
    assert case.get("name") == "x queue_ms <= 10 ms"
    assert case.findtext("system-out") == 'NOT MEASURED: a "stage" <?[31m&?>'

"""The directive that applies to a node, and the limits without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_inference.core.directives.directive import (
    Directive,
    DirectiveLevel,
    DirectiveLimits,
    is_within_ceiling,
    make_release_directive,
)
from edge_inference.core.directives.directive_arbiter import DirectiveArbiter, FailsafePolicy

SECOND = 1_000_000_000
SAFE = DirectiveLimits(max_rate_hz=5.0)
POLICY = FailsafePolicy(5 * SECOND, SAFE)
CRITICAL = FailsafePolicy(5 * SECOND, SAFE, safety_critical=True)


def directive(
    number: int, rate: float | None, node: str = "/ai/inference", manager: str = "one"
) -> Directive:
    level = DirectiveLevel.FULL if rate is None else DirectiveLevel.REDUCED
    return Directive(number, manager, node, level, 0.5, DirectiveLimits(max_rate_hz=rate), "hot")


def test_without_a_manager_nothing_is_limited() -> None:
    now = DirectiveArbiter("/ai/inference").resolve(POLICY, 3600 * SECOND)
    assert (now.limits_source, now.limits.is_free, now.problem) == ("nothing", True, "")


def test_a_directive_by_name_takes_precedence_over_the_general_one() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 10.0, node=""), 0)
    assert node.resolve(POLICY, 0).limits.max_rate_hz == 10.0
    node.receive(directive(1, 20.0), 1)
    node.receive(directive(2, 3.0, node=""), 2)
    now = node.resolve(POLICY, 3)
    assert (now.limits_source, now.limits.max_rate_hz) == ("directive", 20.0)


def test_the_general_directive_applies_after_one_by_name_times_out() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 20.0), 0)
    for second in range(1, 8):
        node.receive(directive(2, 3.0, node=""), second * SECOND)
    assert node.resolve(POLICY, 7 * SECOND).limits.max_rate_hz == 3.0


def test_a_directive_for_another_node_only_shows_that_the_manager_is_alive() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 1.0, node="/other"), 0)
    assert node.resolve(POLICY, 0).limits_source == "nothing"
    node.receive(directive(2, 20.0), 0)
    for second in range(1, 20):
        node.receive(directive(3, 1.0, node="/other"), second * SECOND)
    assert node.resolve(POLICY, 19 * SECOND).limits.max_rate_hz == 20.0


def test_invented_managers_do_not_displace_the_active_one() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 7.0, manager="real"), 0)
    assert node.resolve(POLICY, 0).limits.max_rate_hz == 7.0
    for number in range(5000):
        node.receive(directive(number, 1.0, manager=f"invented-{number}"), number)
    now = node.resolve(POLICY, SECOND)
    assert now.limits.max_rate_hz == 7.0
    assert now.problem.count("invented") <= 16
    # After it falls silent, the next manager is followed, however many there were.
    node.receive(directive(1, 9.0, manager="second"), 6 * SECOND)
    assert node.resolve(POLICY, 6 * SECOND).limits.max_rate_hz == 9.0


def test_the_safe_level_applies_from_the_loss_of_a_manager_until_one_is_back() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, None), 0)
    assert node.resolve(POLICY, 5 * SECOND).limits_source == "directive"
    lost = node.resolve(POLICY, 5 * SECOND + 1)
    assert (lost.limits_source, lost.limits) == ("safe_level", SAFE)
    assert "manager is lost (one); start it again" in lost.problem
    assert node.resolve(POLICY, 3600 * SECOND).limits_source == "safe_level"
    node.receive(directive(1, 12.0, manager="restarted"), 3601 * SECOND)
    back = node.resolve(POLICY, 3601 * SECOND)
    assert (back.limits_source, back.limits.max_rate_hz, back.problem) == ("directive", 12.0, "")


@pytest.mark.parametrize("after_s", [1, 60])
def test_a_manager_that_leaves_ends_its_directives(after_s: int) -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 2.0), 0)
    node.receive(directive(1, 1.0, node=""), 0)
    node.resolve(POLICY, after_s * SECOND)
    node.receive(make_release_directive("one", 0), after_s * SECOND)
    now = node.resolve(POLICY, after_s * SECOND)
    assert (now.limits_source, now.limits.is_free, now.problem) == ("nothing", True, "")
    assert node.resolve(POLICY, 3600 * SECOND).limits_source == "nothing"


def test_a_manager_that_leaves_does_not_end_directives_of_another() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 20.0, manager="first"), 0)
    node.receive(directive(1, 2.0, manager="second"), 0)
    node.receive(make_release_directive("first", 0), 1)
    now = node.resolve(POLICY, 2)
    assert (now.limits.max_rate_hz, now.problem) == (2.0, "")
    node.receive(make_release_directive("a stranger", 0), 3)
    assert node.resolve(POLICY, 4).limits.max_rate_hz == 2.0


@pytest.mark.parametrize(
    "change",
    [
        {"id": 1},
        {"level": DirectiveLevel.FAILSAFE},
        {"limits": DirectiveLimits(max_batch=1)},
        {"problem": "expected a level of 0 to 3, got 9"},
    ],
)
def test_a_directive_with_any_request_is_no_release(change: dict) -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 2.0), 0)
    node.receive(replace(make_release_directive("one", 0), **change), 1)
    assert node.resolve(POLICY, 10 * SECOND).limits_source == "safe_level"


def test_a_safety_critical_node_refuses_and_reports_it() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 1.0), 0)
    now = node.resolve(CRITICAL, 0)
    assert (now.limits_source, now.limits.is_free) == ("critical", True)
    assert "refused" in now.problem
    node.receive(directive(2, None), 1)
    assert node.resolve(CRITICAL, 1).problem == ""
    lost = node.resolve(CRITICAL, 60 * SECOND)
    assert (lost.limits_source, lost.limits.is_free) == ("critical", True)
    assert "lost" in lost.problem


def invalid(number: int, node: str = "/ai/inference") -> Directive:
    return replace(directive(number, 1.0, node), problem="expected a level of 0 to 3, got 9")


@pytest.mark.parametrize("node", ["", "/ai/inference"])
def test_an_invalid_directive_leads_to_the_safe_level_until_a_valid_one(node: str) -> None:
    ours = DirectiveArbiter("/ai/inference")
    ours.receive(directive(1, 20.0, node), 0)
    ours.receive(invalid(2, node), 1)
    now = ours.resolve(POLICY, 2)
    assert (now.limits_source, now.limits, now.directive) == ("safe_level", SAFE, None)
    assert "got 9" in now.problem
    ours.receive(directive(3, 20.0, node), 3)
    assert ours.resolve(POLICY, 4).limits.max_rate_hz == 20.0


def test_an_invalid_directive_for_another_node_is_ignored() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 20.0), 0)
    node.receive(invalid(2, "/other"), 1)
    assert node.resolve(POLICY, 2).limits.max_rate_hz == 20.0


def test_a_failsafe_without_a_limit_leads_to_the_safe_level() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(replace(directive(1, None), level=DirectiveLevel.FAILSAFE), 0)
    now = node.resolve(POLICY, 0)
    assert (now.limits_source, now.limits) == ("safe_level", SAFE)
    assert "is FAILSAFE without a limit" in now.problem
    node.receive(replace(directive(2, 1.0), level=DirectiveLevel.FAILSAFE), 1)
    assert node.resolve(POLICY, 1).limits.max_rate_hz == 1.0


def test_a_safety_critical_node_reports_an_invalid_directive_and_continues() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(invalid(1), 0)
    now = node.resolve(CRITICAL, 0)
    assert (now.limits_source, now.limits.is_free) == ("critical", True)
    assert "got 9" in now.problem


@pytest.mark.parametrize(
    ("ceiling", "allowed"),
    [
        ("", {"fp32", "fp16", "int8", "mixed"}),
        ("fp32", {"fp32", "fp16", "int8", "mixed"}),
        ("fp16", {"fp16", "int8"}),
        ("int8", {"int8"}),
        ("fp7", {"int8"}),
    ],
)
def test_an_unknown_ceiling_allows_only_the_cheapest_precision(
    ceiling: str, allowed: set[str]
) -> None:
    known = ("fp32", "fp16", "int8", "mixed")
    assert {each for each in known if is_within_ceiling(each, ceiling)} == allowed


def test_the_first_of_two_managers_is_followed_and_the_other_reported() -> None:
    node = DirectiveArbiter("/ai/inference")
    for second in range(10):
        node.receive(directive(1, 20.0, manager="first"), second * SECOND)
        node.receive(directive(1, 2.0, manager="second"), second * SECOND + 1)
        now = node.resolve(POLICY, second * SECOND + 2)
        assert now.limits.max_rate_hz == 20.0
        assert "second also sends directives" in now.problem


def test_the_second_manager_takes_over_when_the_first_falls_silent() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 20.0, manager="first"), 0)
    node.resolve(POLICY, 0)
    for second in range(1, 7):
        node.receive(directive(1, 2.0, manager="second"), second * SECOND)
    now = node.resolve(POLICY, 6 * SECOND)
    assert (now.limits_source, now.limits.max_rate_hz, now.problem) == ("directive", 2.0, "")


@pytest.mark.parametrize("from_s", [1, 6, 3600], ids=["before", "soon after", "long after"])
def test_a_crashed_manager_does_not_block_a_live_one(from_s: int) -> None:
    """Whenever another one starts: the safe level applies only while no manager sends."""
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(9, 2.0, manager="foreign"), 0)
    assert node.resolve(POLICY, 0).limits.max_rate_hz == 2.0
    for second in range(1, from_s + 10):
        if second >= from_s:
            node.receive(directive(1, 20.0, manager="own"), second * SECOND)
        now = node.resolve(POLICY, second * SECOND)
        if second > 5:
            assert now.limits_source == ("directive" if second >= from_s else "safe_level")
    assert (now.limits.max_rate_hz, now.problem) == (20.0, "")
    # The crash is forgotten: now the loss of this manager counts.
    lost = node.resolve(POLICY, 3700 * SECOND)
    assert lost.limits_source == "safe_level"
    assert "lost (own)" in lost.problem


def test_the_policy_may_change_at_runtime() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 20.0), 0)
    longer = FailsafePolicy(60 * SECOND, SAFE)
    assert node.resolve(longer, 30 * SECOND).limits_source == "directive"
    assert node.resolve(POLICY, 30 * SECOND).limits_source == "safe_level"


def test_a_time_without_a_subscription_is_no_loss() -> None:
    node = DirectiveArbiter("/ai/inference")
    node.receive(directive(1, 20.0), 0)
    node.receive(directive(2, 3.0, node=""), 0)
    node.restart_timeouts(3600 * SECOND)
    now = node.resolve(POLICY, 3605 * SECOND)
    assert (now.limits_source, now.limits.max_rate_hz) == ("directive", 20.0)
    assert node.resolve(POLICY, 3606 * SECOND).limits_source == "safe_level"

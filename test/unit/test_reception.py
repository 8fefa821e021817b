"""How a message has arrived, from the info that rclpy passes with it."""

from __future__ import annotations

from typing import Any

import pytest

from edge_inference.composition.reception import BY_REFERENCE, Reception, ReceptionLog

NOW = 1_790_000_000_000_000_000
UNKNOWN_NUMBER = 2**64 - 1


def info(number: int | None, publisher: str | None = "a", received_ns: int = NOW) -> dict[str, Any]:
    gid = None if publisher is None else {"data": publisher.encode().ljust(24, b"\0")}
    return {
        "received_timestamp": received_ns,
        "publication_sequence_number": number,
        "publisher_gid": gid,
    }


def lost(*messages: dict[str, Any], publishers: int = 1) -> list[int]:
    log = ReceptionLog(lambda: publishers)
    return [log.add(message, NOW).lost for message in messages]


def test_gaps_in_the_numbers_are_losses() -> None:
    assert lost(*map(info, (7, 8, 12, 13, 15))) == [0, 0, 3, 0, 1]


def test_each_publisher_counts_by_itself() -> None:
    messages = [info(n, who) for n, who in ((5, "a"), (90, "b"), (6, "a"), (93, "b"), (8, "a"))]
    assert lost(*messages) == [0, 0, 0, 2, 1]


def test_a_publisher_that_starts_again_is_no_loss() -> None:
    assert lost(info(50), info(1), info(2), info(4)) == [0, 0, 0, 1]
    assert lost(info(50, "a"), info(9, "new"), info(10, "new")) == [0, 0, 0]


def test_the_same_number_twice_is_no_loss() -> None:
    assert lost(info(5), info(5), info(6)) == [0, 0, 0]


def test_an_unknown_number_is_no_loss() -> None:
    assert lost(info(5), info(None), info(UNKNOWN_NUMBER), info(UNKNOWN_NUMBER)) == [0] * 4


@pytest.mark.parametrize(("publishers", "found"), [(1, [0, 3]), (2, [0, 0]), (0, [0, 0])])
def test_without_identities_only_one_publisher_can_be_followed(
    publishers: int, found: list[int]
) -> None:
    assert lost(info(1, None), info(5, None), publishers=publishers) == found


def test_the_delay_is_that_since_reception() -> None:
    log = ReceptionLog(lambda: 1)
    assert log.add(info(1, received_ns=NOW - 2_500_000), NOW) == Reception(False, 2.5, 0)
    assert log.add(info(2, received_ns=NOW + 1), NOW).receive_ms is None  # the clock went back
    assert log.add(info(3, received_ns=0), NOW).receive_ms is None


@pytest.mark.parametrize("nothing", [None, {}, "text"])
def test_without_info_nothing_is_known(nothing: Any) -> None:
    assert ReceptionLog(lambda: 1).add(nothing, NOW) == Reception(False, None, 0)
    assert Reception(True, None, 0) == BY_REFERENCE


def test_the_number_of_publishers_is_limited() -> None:
    log = ReceptionLog(lambda: 1)
    for number in range(1000):
        log.add(info(1, f"publisher {number}"), NOW)
    assert len(log._last) <= 64
    assert log.add(info(4, "publisher 999"), NOW).lost == 2

"""The mailbox."""

from __future__ import annotations

import threading

import pytest

from edge_inference.core.runtime.mailbox import Mailbox

JOIN_S = 20.0


def run(function) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_a_closed_empty_mailbox_returns_none() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert mailbox.close() == []
    assert mailbox.take() is None
    assert mailbox.put(1) == [1]
    assert mailbox.close() == []


def test_close_returns_the_remaining_items() -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    mailbox.put(1)
    mailbox.put(2)
    assert mailbox.close() == [1, 2]
    assert mailbox.take() is None


@pytest.mark.parametrize(
    ("depth", "dropped", "left"),
    [(1, [[], [1], [2], [3]], [4]), (2, [[], [], [1], [2]], [3, 4]), (9, [[]] * 4, [1, 2, 3, 4])],
)
def test_the_oldest_go_first(depth: int, dropped: list[list[int]], left: list[int]) -> None:
    mailbox: Mailbox[int] = Mailbox(depth)
    assert [mailbox.put(item) for item in (1, 2, 3, 4)] == dropped
    assert len(mailbox) == len(left)
    assert [mailbox.take() for _ in left] == left


def test_a_smaller_depth_holds_from_the_next_item_on() -> None:
    mailbox: Mailbox[int] = Mailbox(3)
    for item in (1, 2, 3):
        mailbox.put(item)
    mailbox.configure(1, wait=False)
    assert mailbox.put(4) == [1, 2, 3]
    assert mailbox.take() == 4


def test_none_of_many_is_lost_while_the_producer_waits() -> None:
    mailbox: Mailbox[int] = Mailbox(2, wait=True)
    dropped: list[int] = []

    def produce() -> None:
        for item in range(1, 501):
            dropped.extend(mailbox.put(item))

    producer = run(produce)
    assert [mailbox.take() for _ in range(500)] == list(range(1, 501))
    producer.join(JOIN_S)
    assert dropped == []


def test_a_caller_that_must_not_wait_does_not() -> None:
    mailbox: Mailbox[int] = Mailbox(1, wait=True)
    mailbox.put(1, may_wait=False)
    assert mailbox.put(2, may_wait=False) == [1]


def test_items_of_callers_that_do_not_wait_displace_no_others() -> None:
    mailbox: Mailbox[int] = Mailbox(2, wait=True)
    mailbox.put(1)
    assert mailbox.put(2, may_wait=False) == []
    assert mailbox.put(3, may_wait=False) == [2]
    assert mailbox.take() == 1
    mailbox.put(4)
    assert mailbox.take() == 3
    mailbox.put(5)
    assert mailbox.put(6, may_wait=False) == [6]
    assert [mailbox.take(), mailbox.take()] == [4, 5]


@pytest.mark.parametrize(
    ("let_go", "given_back"),
    [
        (lambda mailbox: mailbox.close(), [2]),
        (lambda mailbox: mailbox.configure(1, wait=False), [1]),
        (lambda mailbox: mailbox.configure(2, wait=True), []),
        (lambda mailbox: mailbox.take(), []),
    ],
)
def test_what_releases_a_waiting_producer(let_go, given_back: list[int]) -> None:
    mailbox: Mailbox[int] = Mailbox(1, wait=True)
    mailbox.put(1)
    results: list[list[int]] = []
    producer = run(lambda: results.append(mailbox.put(2)))
    let_go(mailbox)
    producer.join(JOIN_S)
    assert results == [given_back]


def test_close_releases_a_waiting_worker() -> None:
    mailbox: Mailbox[int] = Mailbox()
    results: list[int | None] = []
    worker = run(lambda: results.append(mailbox.take()))
    mailbox.close()
    worker.join(JOIN_S)
    assert results == [None]

"""A test of many cases fails if one of them fails, and reports which."""

from __future__ import annotations

import pytest

from cases import MAX_SHOWN, Cases


def test_every_failed_case_is_reported() -> None:
    with pytest.raises(AssertionError) as failure, Cases() as cases:
        for number in range(5):
            with cases("number", number):
                assert number % 2 == 0, "odd"
    assert "2 of 5 cases fail" in str(failure.value)
    assert "number 1: AssertionError" in str(failure.value)
    assert "number 3: AssertionError" in str(failure.value)
    assert "number 2" not in str(failure.value)


def test_an_exception_is_a_failure() -> None:
    with pytest.raises(AssertionError, match=r"a: ZeroDivisionError in line \d+"), Cases() as cases:
        for divisor in (0, 1):
            with cases("a" if not divisor else "b"):
                assert 1 / divisor


def test_only_the_first_failures_are_shown() -> None:
    with pytest.raises(AssertionError) as failure, Cases() as cases:
        for number in range(100):
            with cases(number):
                assert number < 0
    assert "100 of 100 cases fail" in str(failure.value)
    assert len(str(failure.value).splitlines()) < 4 * MAX_SHOWN


def test_no_case_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="no case was tried"), Cases():
        pass


def test_a_keyboard_interrupt_ends_the_run() -> None:
    with pytest.raises(KeyboardInterrupt), Cases() as cases, cases("a"):
        raise KeyboardInterrupt

"""A test of many cases fails where one of them does, and tells which."""

from __future__ import annotations

import pytest

from cases import MAX_SHOWN, Cases


def test_every_case_that_fails_is_told() -> None:
    with pytest.raises(AssertionError) as told, Cases() as cases:
        for number in range(5):
            with cases("number", number):
                assert number % 2 == 0, "odd"
    assert "2 of 5 cases fail" in str(told.value)
    assert "number 1: AssertionError" in str(told.value)
    assert "number 3: AssertionError" in str(told.value)
    assert "number 2" not in str(told.value)


def test_an_error_is_a_failure_too() -> None:
    with pytest.raises(AssertionError, match=r"a: ZeroDivisionError in line \d+"), Cases() as cases:
        for divisor in (0, 1):
            with cases("a" if not divisor else "b"):
                assert 1 / divisor


def test_of_many_failures_the_first_are_shown() -> None:
    with pytest.raises(AssertionError) as told, Cases() as cases:
        for number in range(100):
            with cases(number):
                assert number < 0
    assert "100 of 100 cases fail" in str(told.value)
    assert len(str(told.value).splitlines()) < 4 * MAX_SHOWN


def test_none_at_all_is_a_failure() -> None:
    with pytest.raises(AssertionError, match="no case was tried"), Cases():
        pass


def test_what_ends_the_run_ends_it() -> None:
    with pytest.raises(KeyboardInterrupt), Cases() as cases, cases("a"):
        raise KeyboardInterrupt

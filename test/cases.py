"""Many small cases in one test, which reports every failed case.

As pytest parameters, a product of options costs more overhead than work and floods the report.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

MAX_SHOWN = 8


class Cases:
    """Runs cases; ``with cases(…):`` around each, ``with Cases() as cases:`` around all."""

    def __init__(self) -> None:
        self._tried = 0
        self._failures: list[str] = []

    def __enter__(self) -> Cases:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            assert self._tried, "no case was tried"
            assert not self._failures, self._summary()

    @contextmanager
    def __call__(self, *names: object) -> Iterator[None]:
        """Run one case, named by ``names``; if it fails, the test continues with the next one."""
        self._tried += 1
        try:
            yield
        except Exception as error:
            case = " ".join(str(name) for name in names)
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._failures.append(f"{case}: {type(error).__name__} in line {place.lineno}: {error}")

    def _summary(self) -> str:
        count = len(self._failures)
        shown = [f"{count} of {self._tried} cases fail", *self._failures[:MAX_SHOWN]]
        return "\n".join([*shown, *(["…"] if count > MAX_SHOWN else [])])

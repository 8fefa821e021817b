"""The branch that is never taken: the type checker proves it, and it refuses aloud all the same."""

from __future__ import annotations

from typing import NoReturn

from edge_inference.errors import InputError


def unhandled_error(value: NoReturn, what: str) -> InputError:
    """Make the error for a kind of value that ``what`` has no branch for.

    To be raised where every kind has been dealt with: mypy reports a call that can be reached, so
    who adds a kind is led to every place that has to know it.
    """
    return InputError(f"{what}: nothing here handles {value!r:.80}; it needs a branch of its own")

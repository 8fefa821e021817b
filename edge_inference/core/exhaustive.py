"""An error for a branch that the type checker proves unreachable."""

from __future__ import annotations

from typing import NoReturn

from edge_inference.errors import InputError


def unhandled_error(value: NoReturn, what: str) -> InputError:
    """Return the error for a value of a kind that no branch handles; ``what`` names the value.

    Raise it after the branches for all kinds. mypy reports a call that is reachable, so a new
    kind leads to an error at every place that must handle it.
    """
    return InputError(f"{what}: {value!r:.80} is not handled; add a branch for it")

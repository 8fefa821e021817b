"""Says why a package cannot be imported: it is missing, or its installation is broken."""

from __future__ import annotations

from edge_inference.core.text_line import one_line

_MAX_REASON = 300


def explain_import(title: str, package: str, error: Exception) -> str:
    """Return why ``package``, which users know as ``title``, cannot be imported, with a hint.

    A package that is there needs another advice than one that is not: its binary may be built for
    another NumPy or C library, or one of its own packages may be missing.
    """
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing == package:
        return f"{title} is not installed; pip install {package}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = one_line(lines[0] if lines else type(error).__name__, _MAX_REASON).rstrip(".")
    hint = f"pip install --force-reinstall {package}"
    if missing is not None and missing.partition(".")[0] != package:
        hint = f"pip install {missing.partition('.')[0]}"
    return f"{title} is installed but cannot be imported ({reason}); {hint}"

"""The robot's limits with longer times, for tests on a busy machine."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_relaxed_limits(folder: Path) -> str:
    """Write a copy of the shipped limits with longer times; return its path.

    A busy test machine is slower than a robot's limits allow.
    """
    text = (ROOT / "config" / "voice" / "limits.yaml").read_text()
    for shipped, relaxed in (("max_age_s: 3.0", "max_age_s: 60.0"), ("man_s: 0.25", "man_s: 2.0")):
        assert shipped in text
        text = text.replace(shipped, relaxed)
    file = folder / "relaxed_limits.yaml"
    file.write_text(text)
    return str(file)

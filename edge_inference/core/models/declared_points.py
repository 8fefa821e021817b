"""The operating points that a model has, as ``model.yaml`` lists them: names, no times.

What a point costs depends on the machine and is in its cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_inference.core.models.variants import PRECISIONS
from edge_inference.core.settings import setting
from edge_inference.core.yaml_file import Section

#: The key in ``model.yaml``.
KEY = "operating_points"
#: How int8 is computed on an x86 CPU without VNNI.
_INT8_MODES = ("exact", "fast")
_MAX_POINTS = 64
_MAX_NAME = 200


@dataclass(frozen=True)
class DeclaredPoint:
    """A precision of this model, or of another one with the same task."""

    precision: str = setting(description="precision of the computation", choices=PRECISIONS)
    int8_mode: str = setting(
        "",
        "int8 on an x86 CPU without VNNI: exact, or fast with 7-bit weights; empty: that of the "
        "inference node",
        choices=_INT8_MODES,
    )
    model: str = setting(
        "", "name of another model's folder; empty: this model", max_length=_MAX_NAME
    )

    def check(self) -> str | None:
        """Refuse a path as a model, and a mode of another precision than int8."""
        if {"/", "\\", "\0"} & {*self.model} or self.model.startswith((".", "~")):
            return f"model: expected the name of a model's folder, not a path, got {self.model!r}"
        if self.int8_mode and self.precision != "int8":
            return f"int8_mode: applies to int8 only, not to {self.precision}; leave it out"
        return None


def read_declared_points(top: Section) -> tuple[DeclaredPoint, ...]:
    """Read the list ``operating_points``, if there is one. Raises ConfigError."""
    if KEY not in top:
        return ()
    sections = top.section_list(KEY)
    if len(sections) > _MAX_POINTS:
        raise top.error(KEY, f"expected at most {_MAX_POINTS} points, got {len(sections)}")
    points = [section.read(DeclaredPoint) for section in sections]
    for index, (section, point) in enumerate(zip(sections, points, strict=True)):
        if any(
            (other.model, other.precision) == (point.model, point.precision)
            for other in points[:index]
        ):
            name = f"{point.model} {point.precision}".strip()
            raise section.error(None, f"{name} is listed twice; keep one")
    return tuple(points)

"""An opened engine with its request and the findings of its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_inference.backends.base import Backend
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import Selection


@dataclass(frozen=True)
class Engine:
    """An opened engine, the request that it serves, and the notes of its checks.

    A fallback serves until the requested engine is ready.
    """

    request: EngineRequest
    selection: Selection
    backend: Backend
    notes: Mapping[str, str] = field(default_factory=dict)
    is_fallback: bool = False

    @property
    def precision(self) -> str:
        """The precision that the engine reports, or else the selected one."""
        return self.backend.precision_in_use or self.selection.precision

    def facts(self) -> dict[str, str]:
        """Return facts for diagnostics and logs."""
        return {
            "model": self.request.model.name,
            "backend": self.backend.describe(),
            "precision": self.precision,
            "reason": self.selection.reason,
            **self.notes,
        }

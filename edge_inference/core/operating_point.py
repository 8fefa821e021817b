"""What a model is run as: everything that changes how long one inference takes on a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineConfiguration:
    """One way to run a model.

    ``model`` is the name of its folder, ``backend`` a name of ``engines.select``, ``batch``
    the images of one inference. ``form`` tells what else changes the time: threads and
    kernels on the processor, or the name of the GPU. ``artifact`` is the sha256 of the file
    that the backend opens, so that a changed model is another operating point.
    """

    model: str
    precision: str
    backend: str
    artifact: str
    batch: int = 1
    form: str = ""

    @property
    def title(self) -> str:
        """Name it for people."""
        batch = "" if self.batch == 1 else f", batch {self.batch}"
        form = f", {self.form}" if self.form else ""
        return f"{self.model} {self.backend} {self.precision}{batch}{form}"

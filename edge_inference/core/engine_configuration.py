"""Everything that decides how long one inference of a model takes on a machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineConfiguration:
    """A model's file with the engine and the settings that run it.

    ``model`` is the name of the model folder, ``backend`` a name of
    ``engines.serving.selection``, ``batch`` the number of images of one inference.
    ``execution`` holds the rest: threads and kernels on the CPU, or the name of the GPU.
    ``artifact`` is the sha256 of the file that the backend opens, with the values of further
    inputs if the model has some: a changed model is another configuration.
    """

    model: str
    precision: str
    backend: str
    artifact: str
    batch: int = 1
    execution: str = ""

    @property
    def title(self) -> str:
        """The configuration as a short text, without the artifact."""
        batch = "" if self.batch == 1 else f", batch {self.batch}"
        execution = f", {self.execution}" if self.execution else ""
        return f"{self.model} {self.backend} {self.precision}{batch}{execution}"

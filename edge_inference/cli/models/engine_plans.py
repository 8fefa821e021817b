"""Which plan somebody means: a file, or a model whose engine is in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.perception.run_options import search_path
from edge_inference.core.bounded_file import is_plain_file
from edge_inference.core.models.model import ModelDescription, find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import (
    Artifact,
    Cancelled,
    Progress,
    default_cache,
    engine_plan,
)
from edge_inference.errors import BackendError

#: How a plan is called inside an entry of the cache.
PLAN_FILE = "engine.plan"
#: What the inference node takes where nobody says.
DEFAULT_PRECISION = "fp16"

_SUFFIXES = (".plan", ".engine", ".trt")


@dataclass(frozen=True)
class PlanFile(Artifact):
    """A plan that somebody named: there is nothing to make or to discard."""

    file: Path

    def find(self, cache: ArtifactCache) -> Path | None:
        """Return the plan."""
        return self.file

    def make(self, cache: ArtifactCache, progress: Progress, cancelled: Cancelled) -> Path:
        """Return the plan."""
        return self.file

    def discard(self, cache: ArtifactCache) -> bool:
        """Leave somebody's file alone."""
        return False


def is_plan(text: str) -> bool:
    """Tell a plan's path from a model's name or folder."""
    path = Path(text)
    return path.suffix in _SUFFIXES or is_plain_file(path)


def find_plan(text: str, precision: str | None, gpu: int, model_path: str) -> Path:
    """Return the plan that is meant.

    Raises BackendError where there is none, or none in the cache of a model for this
    machine, and CacheError where that one is damaged.
    """
    if is_plan(text):
        return plan_at(text)
    return cached_plan(find_model(text, search_path(model_path)), precision, gpu)


def plan_at(text: str) -> Path:
    """Return a plan by its path. Raises BackendError where it is missing."""
    plan = Path(text)
    if not is_plain_file(plan):
        raise BackendError(
            f"{text}: no such plan; build it with: edge-inference engine build MODEL "
            f"--output {text}"
        )
    return plan


def cached_plan(model: ModelDescription, precision: str | None, gpu: int) -> Path:
    """Return a model's plan in the cache, as the inference node would take it."""
    cache = default_cache()
    wanted = precision or DEFAULT_PRECISION
    plan = engine_plan(model, wanted, gpu).find(cache)
    if plan is not None:
        return plan
    others = [
        str(entry.path(PLAN_FILE))
        for entry in cache.entries()
        if PLAN_FILE in entry.files and entry.metadata.get("model") == model.name
    ]
    listing = f"; with other options there are {', '.join(others)}" if others else ""
    raise BackendError(
        f"model {model.name!r}: the cache has no {wanted} engine for this machine as its "
        f"model.yaml wants it{listing}; build it with: edge-inference engine build {model.name} "
        f"--precision {wanted}"
    )

"""Finds the plan for a command line argument: a file, or a model with an engine in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_inference.cli.perception.run_options import search_path
from edge_inference.core.bounded_file import is_regular_file
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.engines.cache.artifact_cache import ArtifactCache
from edge_inference.engines.cache.artifacts import (
    Artifact,
    Cancelled,
    Progress,
    default_cache,
    engine_plan,
)
from edge_inference.errors import BackendError

#: File name of a plan in a cache entry.
PLAN_FILE = "engine.plan"
#: The default of the inference node.
DEFAULT_PRECISION = "fp16"

_SUFFIXES = (".plan", ".engine", ".trt")


@dataclass(frozen=True)
class PlanFile(Artifact):
    """A plan by its path: it can neither be made nor discarded."""

    file: Path

    def find(self, cache: ArtifactCache) -> Path | None:
        """Return the plan."""
        return self.file

    def make(self, cache: ArtifactCache, progress: Progress, cancelled: Cancelled) -> Path:
        """Return the plan."""
        return self.file

    def discard(self, cache: ArtifactCache) -> bool:
        """Keep the file: it belongs to the user."""
        return False


def is_plan(text: str) -> bool:
    """Tell whether an argument is the path of a plan, not the name or folder of a model."""
    path = Path(text)
    return path.suffix in _SUFFIXES or is_regular_file(path)


def find_plan(text: str, precision: str | None, gpu: int, model_path: str) -> Path:
    """Return the plan at a path, or the cached plan of a model.

    Raises BackendError where the file does not exist, or where the cache has no plan of the
    model for this machine, and CacheError for a damaged cache entry.
    """
    if is_plan(text):
        return plan_at(text)
    return cached_plan(find_model(text, search_path(model_path)), precision, gpu)


def plan_at(text: str) -> Path:
    """Return a plan by its path. Raises BackendError where it is missing."""
    plan = Path(text)
    if not is_regular_file(plan):
        raise BackendError(
            f"{text}: no such plan; build it with: edge-inference engine build MODEL "
            f"--output {text}"
        )
    return plan


def cached_plan(model: ModelDescription, precision: str | None, gpu: int) -> Path:
    """Return a model's plan in the cache, with the options of the inference node."""
    cache = default_cache()
    precision = precision or DEFAULT_PRECISION
    plan = engine_plan(model, precision, gpu).find(cache)
    if plan is not None:
        return plan
    others = [
        str(entry.path(PLAN_FILE))
        for entry in cache.entries()
        if PLAN_FILE in entry.files and entry.metadata.get("model") == model.name
    ]
    listing = f"; with other options it has {', '.join(others)}" if others else ""
    raise BackendError(
        f"model {model.name!r}: the cache has no {precision} engine for this machine with "
        f"the options of model.yaml{listing}; build it with: edge-inference engine build "
        f"{model.name} --precision {precision}"
    )

"""The folder of the artifact cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edge_inference.errors import CacheError

CACHE_VARIABLE = "EDGE_INFERENCE_CACHE"


def default_cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return ``$EDGE_INFERENCE_CACHE``, else edge_inference in the XDG cache folder.

    Raises CacheError where there is neither and no home folder.
    """
    environ = os.environ if environ is None else environ
    try:
        if environ.get(CACHE_VARIABLE):
            return Path(environ[CACHE_VARIABLE]).expanduser()
        base = Path(environ.get("XDG_CACHE_HOME", ""))
        if not base.is_absolute():  # the XDG specification ignores relative paths
            base = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
            base /= ".cache"
    except RuntimeError as error:
        raise CacheError(f"no folder for the cache: {error}; set ${CACHE_VARIABLE}") from error
    return base / "edge_inference"

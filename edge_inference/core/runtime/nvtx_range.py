"""Marks the work of a stage for NVIDIA's tools (Nsight Systems), if the user wants that."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from edge_inference.core.package_import import explain_import
from edge_inference.errors import ConfigError

#: With 1 in the environment, each stage marks its work.
VARIABLE = "EDGE_INFERENCE_NVTX"


def stage_range(name: str) -> AbstractContextManager[Any]:
    """Return a context manager that marks a range by this name, again and again.

    It does nothing unless the environment variable ``EDGE_INFERENCE_NVTX`` is 1. Raises
    ConfigError where the package nvtx is then missing.
    """
    if os.environ.get(VARIABLE) != "1":
        return nullcontext()
    check_nvtx()
    import nvtx

    return nvtx.annotate(name, domain="edge_inference")  # type: ignore[no-any-return]


def check_nvtx() -> None:
    """Raise ConfigError where the package nvtx is missing."""
    try:
        import nvtx  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"NVTX ranges: {explain_import('nvtx', 'nvtx', error)}") from error

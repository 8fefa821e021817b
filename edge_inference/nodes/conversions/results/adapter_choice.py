"""Chooses the adapter of a kind of result: of the classes that it names, the first usable one."""

from __future__ import annotations

import importlib
from typing import Any

from edge_inference.composition.adapter import Adapter
from edge_inference.core.results import ResultKind
from edge_inference.core.runtime.worker import format_error
from edge_inference.errors import PluginError


def result_adapter(kind: ResultKind[Any]) -> Adapter[Any]:
    """Return a new adapter of a kind: of the classes that it names, the first that can be used.

    A class whose message package is not installed is skipped. Raises PluginError if none is left,
    and for a class that does not exist or cannot be used.
    """
    missing = []
    for path in kind.adapters:
        title = f"result kind {kind.name}: adapter {path}"
        module_name, _, class_name = path.partition(":")
        try:
            adapter_class = getattr(importlib.import_module(module_name), class_name, None)
            if isinstance(adapter_class, type) and issubclass(adapter_class, Adapter):
                return adapter_class()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # another package's code may raise anything
            # The adapter's own module must exist; what it imports may be absent.
            if not isinstance(error, ImportError) or f"{module_name}.".startswith(f"{error.name}."):
                raise PluginError(f"{title}: {format_error(error)}") from error
            missing.append(str(error))
            continue
        raise PluginError(f"{title}: expected a subclass of Adapter, got {adapter_class!r}")
    raise PluginError(
        f"result kind {kind.name}: expected the messages of one of {', '.join(kind.adapters)}, got "
        f"{'; '.join(missing)}; install their package"
    )

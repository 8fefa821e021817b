"""Finds decoders that can read a model's outputs: advice where the chosen one cannot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edge_inference.core import decoders
from edge_inference.core.decoders import DecodeContext, DecoderEntry
from edge_inference.core.images.geometry import Geometry
from edge_inference.core.results import RESULT_KINDS, Result
from edge_inference.core.settings import build
from edge_inference.errors import TensorError

if TYPE_CHECKING:
    from edge_inference.core.models.model import ModelDescription

#: Maximum number of decoders that advice names.
_MAX_NAMES = 4


def advise_decoder(
    error: TensorError,
    model: ModelDescription,
    outputs: Mapping[str, NDArray[Any]],
    geometry: Geometry,
) -> TensorError:
    """Return the error of the model's decoder with the decoders that read these outputs.

    Every other decoder of the table is tried with its default settings, those of the model's task
    first. The error's own hint comes after it, since the settings may be wrong instead; alone, if
    it says which value is right.
    """
    context = model.decode_context(geometry)
    readers = {
        entry.name: result
        for entry in _other_decoders(model.decoder)
        if (result := _try(entry, outputs, context)) is not None
    }
    wanted = model.kind.result_type
    names = [name for name, result in readers.items() if type(result) is wanted]
    if len(names) == 1:
        return _with_advice(error, outputs, f"use the decoder {names[0]}")
    if names:
        listed = ", ".join(names[:_MAX_NAMES])
        return _with_advice(error, outputs, f"use one of the decoders {listed}")
    for name, result in readers.items():
        # Without labels, a decoder accepts the outputs of any task.
        task = _task_of(result) if model.labels and getattr(result, "labels", ()) else None
        if task is not None:
            return _with_advice(error, outputs, f"use the task {task} with the decoder {name}")
    return error


def _with_advice(
    error: TensorError, outputs: Mapping[str, NDArray[Any]], advice: str
) -> TensorError:
    reason, _, hint = str(error).partition("; ")
    # The decoder knows it itself: another one, the value of its setting, or the name of its output.
    if advice.rpartition(" ")[2] in hint or _is_certain(hint):
        return error
    if len(outputs) == 1 and hint.startswith("name "):  # there is no other output to name
        hint = ""
    other = f", or {hint}" if hint else ""
    return TensorError(f"{reason}; {advice}, which can read these outputs{other}")


def _is_certain(hint: str) -> bool:
    return "did you mean" in hint or (hint.startswith("set ") and " if " not in hint)


def _other_decoders(chosen: str) -> list[DecoderEntry]:
    """Return the decoders of the table, each once, without the chosen one.

    Of several names of a decoder, the one that its function has in its name counts.
    """
    rows = decoders.DECODERS.rows()
    used = rows.get(chosen)
    found: dict[tuple[object, object], DecoderEntry] = {}
    for entry in rows.values():
        key = entry.function, entry.settings_class
        if key not in found or entry.name in getattr(entry.function, "__name__", ""):
            found[key] = entry
    if used is not None:
        found.pop((used.function, used.settings_class), None)
    return list(found.values())


def _try(
    entry: DecoderEntry, outputs: Mapping[str, NDArray[Any]], context: DecodeContext
) -> Result | None:
    try:
        return entry.function(outputs, context, build(entry.settings_class, {}))
    except Exception:  # it cannot read them, it needs settings, or another package has a bug
        return None


def _task_of(result: Result) -> str | None:
    kinds = RESULT_KINDS.rows().values()
    return next((kind.name for kind in kinds if kind.result_type is type(result)), None)

"""An engine proves itself before it serves, as the node's settings ask for it."""

from __future__ import annotations

import dataclasses

from edge_inference.backends.base import Backend
from edge_inference.engines.engine_check import Checked, check_engine, record_check, warm_up
from edge_inference.engines.preparation import check_beside
from edge_inference.engines.select import Request, Selection
from edge_inference.engines.supply import Cancelled, default_store
from edge_inference.nodes.inference_settings import InferenceSettings


def try_out(
    selection: Selection,
    backend: Backend,
    cancelled: Cancelled,
    settings: InferenceSettings,
    *,
    in_service: bool,
    rival: Request | None = None,
) -> Checked:
    """Check an opened engine, measure its cost, note the precision that it really computes in.

    ``in_service`` tells whether another engine serves meanwhile: the check then runs in a
    process of its own. ``rival`` is what the engine is to be faster than, None where that
    does not matter. Raises EdgeInferenceError to refuse the engine.
    """
    golden, agreement = settings.golden_check, settings.self_check
    if not in_service or (golden == agreement == "off" and rival is None):
        checked = check_engine(
            selection, backend, golden=golden, agreement=agreement, cancelled=cancelled
        )
        warnings = list(checked.warnings)
        record_check(selection, checked, default_store(), warnings.append)
        checked = dataclasses.replace(checked, warnings=tuple(warnings))
    else:  # frames flow: they would feel it
        checked = check_beside(
            selection.request, default_store(), golden, agreement, cancelled, rival
        )
        warm_up(selection.request.model, backend)
    backend.precision_in_use = backend.precision_in_use or checked.precision
    return checked

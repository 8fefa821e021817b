"""Validates an engine before it serves, as configured by the node's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_inference.backends.base import Backend
from edge_inference.engines.cache.artifacts import Cancelled, default_cache
from edge_inference.engines.serving.cost_recording import Report
from edge_inference.engines.serving.engine_check import check_engine, record_check, warm_up
from edge_inference.engines.serving.preparation import check_in_child
from edge_inference.engines.serving.selection import Selection
from edge_inference.nodes.perception.inference_settings import InferenceSettings
from edge_inference.nodes.perception.operating_points import points_of


@dataclass(frozen=True)
class EngineValidation:
    """Checks an opened engine and measures its cost; ``report`` gets the warnings."""

    settings: InferenceSettings
    report: Report

    def __call__(
        self, selection: Selection, backend: Backend, cancelled: Cancelled, *, in_service: bool
    ) -> Mapping[str, str]:
        """Return facts to show, and set the precision that the engine actually computes in.

        ``in_service`` states that another engine serves meanwhile: the check then runs in a
        separate process. Raises EdgeInferenceError to reject the engine, NotFasterError
        where it should save time or heat and is not faster.
        """
        golden, agreement = self.settings.golden_check, self.settings.self_check
        request = selection.request
        points = points_of(request)
        baseline = points.baseline(request)
        if not in_service or (golden == agreement == "off" and baseline is None):
            checked = check_engine(
                selection, backend, golden=golden, agreement=agreement, cancelled=cancelled
            )
            record_check(selection, checked, default_cache(), self.report)
        else:  # a check in this process would delay frames
            checked = check_in_child(
                selection.request, default_cache(), golden, agreement, cancelled, baseline
            )
            warm_up(selection.request.model, backend)
        backend.precision_in_use = backend.precision_in_use or checked.precision
        for warning in checked.warnings:
            self.report(warning)
        points.check_is_faster(request)
        return checked.notes

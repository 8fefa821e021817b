"""The table of families, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_inference.core.exports import by_shape, named_outputs, transformers, ultralytics
from edge_inference.core.exports.proposal import Evidence, Proposal

FAMILIES: tuple[Callable[[Evidence], Proposal | None], ...] = (
    ultralytics.propose_ultralytics,
    named_outputs.propose_tensorflow,
    named_outputs.propose_deployed_detr,
    named_outputs.propose_paddle,
    named_outputs.propose_mmdeploy,
    named_outputs.propose_suppressed,
    transformers.propose_detr,
    named_outputs.propose_yolov4,
    named_outputs.propose_lists,
    transformers.propose_transformers,
    by_shape.propose_classifier,
    by_shape.propose_detector,
    by_shape.propose_heads,
    by_shape.propose_map,
)


def propose(evidence: Evidence) -> Proposal | None:
    """Return what is proposed for a model, None for outputs of an unknown kind.

    Raises ModelError for a model that is known, and that no decoder reads.
    """
    for family in FAMILIES:
        proposal = family(evidence)
        if proposal is not None:
            labels = evidence.labels or proposal.labels or evidence.metadata.labels
            return replace(proposal, labels=labels)
    return None

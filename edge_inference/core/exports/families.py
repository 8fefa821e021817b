"""The table of families, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_inference.core.exports import by_shape, named_outputs, transformers, ultralytics
from edge_inference.core.exports.proposal import RAW, UNIT, Evidence, Proposal

#: The largest mean or divisor for pixels from 0 to 1.
_MAX_UNIT = 2.0

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
            proposal = _without_second_normalization(proposal, evidence)
            labels = evidence.labels or proposal.labels or evidence.metadata.labels
            return replace(proposal, labels=labels)
    return None


def _without_second_normalization(proposal: Proposal, evidence: Evidence) -> Proposal:
    """Replace an assumed normalization where the graph begins with one of its own.

    Graphs divide pixels from 0 to 255 first, or subtract a mean of that range; others are made
    for pixels from 0 to 1.
    """
    scaling = evidence.summary.first_scaling
    if scaling is None or "input.mean" not in proposal.assumed or evidence.is_integer_input:
        return proposal
    operator, constants = scaling
    size = max(map(abs, constants))
    if operator == "Mul":
        size = 1 / size if size else 0.0
    if size in (0.0, 1.0):  # changes no pixel
        return proposal
    values, pixels = (RAW, "0 to 255") if size > _MAX_UNIT else (UNIT, "0 to 1")
    text = f"assumed pixels from {pixels}: the graph normalizes them itself ({operator})"
    replaced = replace(proposal, input={**proposal.input, **values})
    return replaced.assuming({"input.mean": text})

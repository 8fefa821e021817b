"""One kind of result: a row with everything that the rest of the package must know of it.

A user's package adds a kind with such a row and an entry point (``extension_table.py``)::

    [options.entry_points]
    edge_inference.result_kinds =
        keypoints = my_robot.keypoints:KEYPOINTS
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from edge_inference.core.results.golden_form import GoldenForm
from edge_inference.core.results.result import AnyResult
from edge_inference.core.results.result_agreement import Leniency, ResultAgreement

if TYPE_CHECKING:  # the voice pipeline uses results, and does not load OpenCV
    from edge_inference.core.images.canvas import Canvas


@dataclass(frozen=True)
class ResultKind(Generic[AnyResult]):
    """A kind of result. None stands for what a kind does not have: what needs it refuses, aloud.

    All functions take a result; they are pure, and at home with an empty one.
    """

    #: The task in ``model.yaml``, and the name of the entry point.
    name: str
    #: The frozen dataclass (see ``Result``) that the decoders of this task return.
    result_type: type[AnyResult]
    #: The topic of the decode node, relative to its namespace.
    topic: str
    #: The classes that convert the result to its ROS message, as ``module:Class``; used is the
    #: first whose message package is installed. They are texts, because this package works without
    #: ROS: only ``nodes/conversions`` imports them, when a node is configured.
    adapters: tuple[str, ...]
    #: Return the findings for ``--json``, best first.
    to_json: Callable[[AnyResult], list[dict[str, Any]]]
    #: Return the first findings as texts, at most so many.
    to_lines: Callable[[AnyResult, int], list[str]]
    #: Return label and score of each finding that the summary of a run counts.
    scores_by_label: Callable[[AnyResult], list[tuple[str, float]]] | None
    #: Return the value for the topic ``inference_result``: the best score, NaN if nothing is found.
    top_score: Callable[[AnyResult], float] | None
    #: Return what the subscribers must be warned of in /diagnostics, "" for nothing.
    warning: Callable[[AnyResult], str] | None
    #: Draw the result on a copy of its image. May raise ImageError.
    draw: Callable[[Canvas, AnyResult], None] | None
    #: How golden images list the expected result. None: a model with golden images is refused.
    golden: GoldenForm[AnyResult] | None
    #: Compare a candidate's result (second) with the reference's. None: the self-check fails.
    agree: Callable[[AnyResult, AnyResult, Leniency[AnyResult]], ResultAgreement] | None

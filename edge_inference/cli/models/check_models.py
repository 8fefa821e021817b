"""``edge-inference models check``: verifies models and checks their results."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from edge_inference.cli.exit_status import print_error
from edge_inference.cli.perception.run_options import check_int8_mode, search_path
from edge_inference.cli.signals import cancel_on_signal
from edge_inference.core.exports.metadata_check import find_contradictions
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.core.text_line import one_line
from edge_inference.engines.precision.int8_mode import EXACT
from edge_inference.errors import EdgeInferenceError


def check_models(
    names: Sequence[str], model_path: str, backend: str, precision: str, int8_mode: str | None
) -> int:
    """Check models one by one and print a report; return 1 if one fails.

    Raises UsageError for an ``int8_mode`` that would have no effect.
    """
    check_int8_mode(int8_mode, precision)
    failed = 0
    for name in names:
        try:
            model = find_model(name, search_path(model_path))
            failed += not _check(model, backend, precision, int8_mode or EXACT)
        except EdgeInferenceError as error:
            failed += 1
            print_error(f"{name}: {error}")
    return 1 if failed else 0


def _check(model: ModelDescription, backend: str, precision: str, int8_mode: str) -> bool:
    from edge_inference.cli.models.check_engine import run_checks
    from edge_inference.cli.progress import show_progress
    from edge_inference.engines.build.model_options import build_options
    from edge_inference.engines.serving.backend_table import EngineRequest
    from edge_inference.engines.serving.selection import prepare

    model.verify_files()
    # Check the build options here, too: a machine without TensorRT does not read them.
    build_options(model, next(iter(model.variants)))
    sys.stdout.write(f"{model.name}: {model.folder}\n  files: verified (sha256)\n")
    contradictions = find_contradictions(model)
    if contradictions is not None:
        for text in contradictions or ("agrees with model.yaml",):
            sys.stdout.write(f"  metadata: {one_line(text)}\n")
    doubt = model.input.doubt()
    if doubt is not None:
        sys.stdout.write(f"  warning: {doubt}\n")
    request = EngineRequest(model, backend, precision, int8_mode=int8_mode)
    with cancel_on_signal() as cancelled, show_progress("  preparing", sys.stdout) as progress:
        selection = prepare(request, progress=progress, cancelled=cancelled)
        if cancelled():  # cancelled after the preparation: do not check
            raise KeyboardInterrupt(cancelled.number)
    assert selection.backend is not None
    sys.stdout.write(f"  selection: {selection.reason}\n")
    return run_checks(selection, selection.backend) == 0

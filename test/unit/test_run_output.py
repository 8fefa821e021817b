"""Where a run says that a model is made ready first."""

from __future__ import annotations

import io

import pytest

from edge_inference.cli.perception.run_output import RunJsonLines, RunOutput, RunPlainLines


@pytest.mark.parametrize(("kind", "is_beside"), [(RunJsonLines, True), (RunPlainLines, False)])
def test_preparation_is_shown_but_not_in_json(
    kind: type[RunOutput], is_beside: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    results = io.StringIO()
    with kind(results).preparing("preparing it") as progress:
        progress("calibrating", 0.5)
    assert ("preparing it" in capsys.readouterr().err) == is_beside
    assert ("preparing it" in results.getvalue()) == (not is_beside)

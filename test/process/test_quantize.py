"""``optimize.quantize`` from a script, without the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edge_inference.core.models.golden import SelfCheckThresholds
from edge_inference.core.models.model import load_model
from edge_inference.core.models.self_check import SelfCheckReport
from edge_inference.core.results import ResultAgreement
from edge_inference.errors import ConfigError, EdgeInferenceError
from edge_inference.optimize.derived_model_check import DerivedModelRow, check_agreement
from edge_inference.optimize.quantize import QuantizeRequest, quantize
from small_model import write_images, write_model


@pytest.fixture
def request_int8(tmp_path: Path) -> QuantizeRequest:
    model = load_model(write_model(tmp_path / "small"))
    images = write_images(tmp_path / "images", 12)
    (images / "000.png").write_bytes(b"no image")
    return QuantizeRequest(model, tmp_path / "made" / "small_int8", calibration=str(images))


def test_a_script_quantizes(
    request_int8: QuantizeRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    phases: list[str] = []
    skipped: list[str] = []
    staged: list[Path] = []
    report = quantize(
        request_int8,
        lambda phase, fraction: phases.append(phase),
        skipped=skipped.append,
        before_staging=staged.append,
    )
    assert report.passed and report.check.reasons == ()
    assert report.folder == request_int8.output
    assert [row.images for row in report.check.rows] == ["golden", "held out"]
    assert load_model(report.folder).calibration is not None
    assert {"deriving", "comparing with fp32"} <= set(phases)
    assert len(skipped) == 1 and "000.png" in skipped[0]
    assert len(staged) == 1 and not staged[0].exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("faint", "found", "passed"),
    [((300, 300), (7, 10), False), ((30, 300), (9, 10), True), ((300, 300), (0, 0), True)],
)
def test_faint_results_count_only_if_nothing_is_found(
    faint: tuple[int, int], found: tuple[int, int], passed: bool
) -> None:
    reports = (
        SelfCheckReport(2, (), ResultAgreement(*faint), None, is_faint=True),
        SelfCheckReport(2, (), ResultAgreement(*found), None),
    )
    rows = [DerivedModelRow("some", report, 1.0, 1.0) for report in reports]
    assert (check_agreement(rows, SelfCheckThresholds()) == []) is passed


def test_a_cancelled_run_leaves_nothing(request_int8: QuantizeRequest) -> None:
    with pytest.raises(EdgeInferenceError, match="cancelled"):
        quantize(request_int8, cancelled=lambda: True)
    assert list(request_int8.output.parent.iterdir()) == []


def test_an_existing_output_is_refused(request_int8: QuantizeRequest) -> None:
    request_int8.output.mkdir(parents=True)
    with pytest.raises(ConfigError, match="it exists already; name a new folder"):
        quantize(request_int8)


def test_the_module_does_not_need_the_command_line() -> None:
    code = (
        "import sys, edge_inference.optimize.quantize\n"
        "sys.exit(any(name.startswith('edge_inference.cli') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The shipped models in their derived precisions, on images outside the calibration."""

from __future__ import annotations

from dataclasses import asdict
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from benchmarks.unseen_images import (
    Fp32Reference,
    ReferenceAgreement,
    foolbox_images,
    unseen_images,
)
from edge_inference.backends.ort import OrtBackend
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.media import sample_video
from edge_inference.core.models.golden_check import run_golden_check
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.model_search import find_model
from edge_inference.core.onnx_format.onnx_files import onnx_digest
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.errors import SourceError
from edge_inference.optimize.calibrate import calibrate_model
from edge_inference.optimize.images.calibration_images import calibration_images
from int8_sums import can_saturate, int8_weights
from shared import derive_model, derived_model_of

SHIPPED = Path(__file__).parents[2] / "models"
NAMES = ("efficientnet_lite0", "nanodet")
DERIVED = (
    ("int8", "onnxruntime"),
    ("7-bit int8", "onnxruntime"),
    ("int8", "tensorrt"),
    ("fp16", "tensorrt"),
)
CROPS = {"efficientnet_lite0": 3, "nanodet": 0}


class Derived:
    """One model with derived models on demand, each compared with fp32 once."""

    def __init__(self, name: str) -> None:
        self.model: ModelDescription = find_model(name, [SHIPPED])
        with OrtBackend(self.model.variants["fp32"].file) as fp32:
            self._reference = Fp32Reference(
                self.model, fp32, unseen_images(self.model, CROPS[name])
            )
        self._agreements: dict[Path, ReferenceAgreement] = {}

    def file(self, precision: str, target: str) -> Path:
        return derived_model_of(self.model, precision, target)

    def compare(self, file: Path) -> ReferenceAgreement:
        if file not in self._agreements:
            with OrtBackend(file) as backend:
                self._agreements[file] = self._reference.compare(backend)
        return self._agreements[file]


@pytest.fixture(scope="module", params=NAMES)
def derived(request: pytest.FixtureRequest) -> Derived:
    try:
        return Derived(request.param)
    except SourceError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("precision", "target"), DERIVED)
def test_a_derived_model_agrees_with_fp32_on_unseen_images(
    precision: str, target: str, derived: Derived
) -> None:
    found = derived.compare(derived.file(precision, target))
    assert found.results.compared >= 48
    assert found.results.share >= 0.95
    assert found.outputs.sqnr_db > {"int8": 14, "7-bit int8": 13, "fp16": 40}[precision]
    assert found.outputs.cosine > 0.97


@pytest.mark.parametrize(("precision", "target"), DERIVED)
def test_a_derived_model_passes_the_golden_check(
    precision: str, target: str, derived: Derived
) -> None:
    with OrtBackend(derived.file(precision, target)) as backend:
        report = run_golden_check(derived.model, backend.infer)
    assert report.passed, report.summary()
    assert report.images == 2


def test_pairs_of_products_with_7_bit_weights_fit_in_16_bits(derived: Derived) -> None:
    fast = int8_weights(derived.file("7-bit int8", "onnxruntime"))
    whole = int8_weights(derived.file("int8", "onnxruntime"))
    assert fast.keys() == whole.keys()
    assert len(fast) > 30
    assert not [name for name, numbers in fast.items() if can_saturate(numbers)]
    assert all(can_saturate(numbers) for numbers in whole.values())


def test_a_bad_quantization_is_detected(derived: Derived, tmp_path: Path) -> None:
    good = derived.compare(derived.file("int8", "tensorrt"))
    derive_model(derived.model, "int8", "tensorrt", tmp_path / "bad.onnx", per_channel=False)
    bad = derived.compare(tmp_path / "bad.onnx")
    assert bad.outputs.sqnr_db < good.outputs.sqnr_db - 1
    if derived.model.name == "efficientnet_lite0":  # its channels differ a hundredfold
        assert bad.outputs.sqnr_db < good.outputs.sqnr_db - 8
        assert bad.results.share < 0.95 < good.results.share


@pytest.mark.parametrize(("precision", "target"), DERIVED)
def test_a_derived_model_has_the_same_bytes_each_time(
    precision: str, target: str, derived: Derived, tmp_path: Path
) -> None:
    derive_model(derived.model, precision, target, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == derived.file(precision, target).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_ranges_come_from_the_named_images(name: str) -> None:
    model = find_model(name, [SHIPPED])
    assert model.calibration is not None
    kept = Calibration.load(model.calibration)
    assert model.calibration.stat().st_size <= 40_000
    assert kept.onnx_sha256 == onnx_digest(model.variants["fp32"].file)
    assert kept.images.startswith("the 10 of foolbox 3.3.4's 20 ImageNet images with an even")
    try:
        files, videos = foolbox_images()[::2], sample_video().parent
    except SourceError as error:
        pytest.skip(str(error))
    sources = [(file, 1) for file in files]
    sources += [(videos / f"{video}.mp4", 8) for video in ("carphone_pristine", "bigbuckbunny")]
    images = chain(*(calibration_images(file, limit=limit) for file, limit in sources))
    again = calibrate_model(model, images, kept.images, kept.method)
    assert again.image_count == kept.image_count == 26
    read = {
        key: tuple(value) if isinstance(value, list) else value for key, value in kept.input.items()
    }
    assert again.input == asdict(InputSpec(**read))  # a key that came later has its default
    assert list(again.ranges) == list(kept.ranges)
    # Not exactly: other versions decode a video slightly differently.
    widths = np.array([kept.ranges[name] for name in kept.ranges])
    found = np.array([again.ranges[name] for name in kept.ranges])
    spans = widths[:, 1] - widths[:, 0]
    assert np.median(np.abs(found - widths) / spans[:, None]) < 0.01

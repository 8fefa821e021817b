"""ONNX files from PyTorch: they compute the same, or do not appear."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from edge_inference.errors import ConfigError, ModelError
from edge_inference.optimize.export import onnx_export
from edge_inference.optimize.export.onnx_export import OPSETS, export_onnx
from edge_inference.optimize.training.torch_model import TorchModel
from optimize_kit import DIGIT_LABELS, digit_spec, digits, small_model

Forward = Callable[[Any, Tensor], Any]


class Own(nn.Module):
    """A linear layer, and what a test does with it."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(16, 10)
        self.own = forward

    def forward(self, x: Tensor) -> Any:
        return self.own(lambda images: self.linear(images.flatten(1)), x)


def own_model(forward: Forward) -> TorchModel:
    return TorchModel(Own(forward).eval(), digit_spec(4), DIGIT_LABELS, "own")


def branch_on_light(linear: Any, x: Tensor) -> Tensor:
    """Takes the other way only for images that are light and not noise."""
    return -linear(x) if x.mean() > 0.9 else linear(x)


def branch_on_range(linear: Any, x: Tensor) -> Tensor:
    """Takes the other way only for what no generated image has."""
    return -linear(x) if bool((x == 0.3).all()) else linear(x)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_computes_the_same(tmp_path: Path, opset: int) -> None:
    model, file = small_model(), tmp_path / "net.onnx"
    images, _ = digits(20).load(range(20))
    report = export_onnx(model, file, opset=opset, images=images)
    network = onnx.load(file, load_external_data=False)
    assert [each.version for each in network.opset_import if not each.domain] == [opset]
    assert report.bytes == file.stat().st_size and report.checked_images == 39
    assert report.relative_difference < 1e-5
    session = onnxruntime.InferenceSession(str(file))
    (logits,) = session.run(["logits"], {"image": images})
    with torch.no_grad():
        expected = model.module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert [*tmp_path.iterdir()] == [file]


def test_a_fixed_batch_of_one(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    export_onnx(small_model(), file, dynamic_batch=False)
    session = onnxruntime.InferenceSession(str(file))
    assert session.get_inputs()[0].shape == [1, 1, 28, 28]
    same = tmp_path / "same.onnx"
    export_onnx(small_model(), same, dynamic_batch=False)
    assert same.read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.TransformerEncoderLayer(16, 2, 32, batch_first=True),
        lambda: nn.GRU(16, 16, batch_first=True),
    ],
)
def test_layers_with_a_fused_form(tmp_path: Path, layer: Callable[[], nn.Module]) -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layer = layer()
            self.head = nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.layer(x.reshape(x.shape[0], 4, 16))
            return self.head((tokens[0] if isinstance(tokens, tuple) else tokens).mean(1))

    model = TorchModel(Tokens().eval(), digit_spec(8), DIGIT_LABELS, "tokens")
    assert export_onnx(model, tmp_path / "net.onnx").relative_difference < 1e-4


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda linear, x: {"logits": linear(x)}, "one tensor, got dict; wrap it"),
        (lambda linear, x: (linear(x), x), "one tensor, got tuple"),
        (lambda linear, x: linear(x).argmax(1), r"got torch.int64 \[4\]"),
        (lambda linear, x: linear(x) / 0, "NaN or infinite"),
        (lambda linear, x: linear(x) + torch.rand(10), "two runs on the same images differ"),
        (lambda linear, x: linear(x[:, 5]), "its forward.. fails: IndexError: index 5"),
        (
            lambda linear, x: torch.special.bessel_j0(linear(x)),
            "opset 17: Exporting the operator 'aten::special_bessel_j0'",
        ),
        (
            lambda linear, x: linear(x) * float(x.mean()),
            r"differ by .* traced only one way: test_onnx_export.py:\d+: Converting a tensor",
        ),
        (branch_on_light, r"differ by .* traced only one way: test_onnx_export.py:\d+: Conv"),
        (
            lambda linear, x: torch.stack([linear(each[None])[0] for each in x]),
            "for 1 images ONNX Runtime|cannot run it: .* fixed batch",
        ),
    ],
)
def test_what_cannot_be_exported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], forward: Forward, expected: str
) -> None:
    with pytest.raises(ModelError, match=f"model own: .*{expected}"):
        export_onnx(own_model(forward), tmp_path / "net.onnx")
    assert not [*tmp_path.iterdir()]
    assert capfd.readouterr() == ("", "")


def test_given_images_find_a_rare_branch(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    report = export_onnx(own_model(branch_on_range), file)
    assert "Converting a tensor to a Python boolean" in report.warnings[0]
    images = np.full((2, 1, 4, 4), 0.3, np.float32)
    other = tmp_path / "other.onnx"
    with pytest.raises(ModelError, match="differ by"):
        export_onnx(own_model(branch_on_range), other, dynamic_batch=False, images=images)
    with pytest.raises(ModelError, match=r"expected float32 images .* got float64 \[2, 1, 4, 4\]"):
        export_onnx(own_model(branch_on_range), other, images=images.astype(np.float64))
    assert [*tmp_path.iterdir()] == [file]


def test_limits_and_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "net.onnx"
    with pytest.raises(ConfigError, match="opset: expected 13 to 21, got 12"):
        export_onnx(small_model(), file, opset=12)
    with pytest.raises(ModelError, match=r"missing/net\.onnx: cannot be written \(No such file"):
        export_onnx(small_model(), tmp_path / "missing" / "net.onnx")
    file.write_bytes(b"before")

    def fill_disk(path: Path, data: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill_disk)
        with pytest.raises(ModelError, match=r"No space left on device; free space there"):
            export_onnx(small_model(), file)
    monkeypatch.setattr(onnx_export, "MAX_EMBEDDED_BYTES", 10_000)
    with pytest.raises(ModelError, match="an ONNX file holds at most 0 MiB; prune it"):
        export_onnx(small_model(), file)
    assert file.read_bytes() == b"before" and [*tmp_path.iterdir()] == [file]

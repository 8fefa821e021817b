"""Counts and times networks: parameters, operations, zeros, file size, and measured time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_inference.core.disk import describe_write_error
from edge_inference.core.measured_costs import Spread
from edge_inference.engines.cache.artifacts import Cancelled, Progress
from edge_inference.errors import CancelledError, ModelError
from edge_inference.optimize.export.onnx_export import export_onnx
from edge_inference.optimize.onnx_timing import DEFAULT_RUNS, measure_files
from edge_inference.optimize.pruning.pruning_report import NetworkFigures, PrunedLayer
from edge_inference.optimize.training.torch_model import TorchModel, import_torch

if TYPE_CHECKING:
    from torch import nn


def weighted_layers(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the convolutions and linear layers, the layers that pruning is about, by name."""
    torch = import_torch()
    kinds = (torch.nn.modules.conv._ConvNd, torch.nn.Linear)
    for name, layer in module.named_modules():
        if isinstance(layer, kinds):
            yield name, layer


def sparsity(module: nn.Module) -> tuple[dict[str, float], float]:
    """Return the share of zeros in the weights of each layer, and in those of all together."""
    zeros = {name: int((layer.weight == 0).sum()) for name, layer in weighted_layers(module)}
    sizes = {name: layer.weight.numel() for name, layer in weighted_layers(module)}
    shares = {name: zeros[name] / sizes[name] for name in zeros}
    return shares, sum(zeros.values()) / max(sum(sizes.values()), 1)


def count_network(model: TorchModel) -> NetworkFigures:
    """Count a network for one image. Nothing is measured."""
    torch = import_torch()
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    depthwise: list[int] = []
    hooks = [
        layer.register_forward_hook(
            lambda one, _, output: depthwise.append(output.numel() * one.weight[0].numel())
        )
        for _, layer in weighted_layers(model.module)
        if getattr(layer, "groups", 1) > 1 and layer.groups == layer.in_channels
    ]
    try:
        # Neither fused form of an attention is counted: that without gradients, and that of a CPU.
        with (
            FlopCounterMode(display=False) as counter,
            torch.enable_grad(),
            sdpa_kernel(SDPBackend.MATH),
        ):
            model.module(model.example_input())
    finally:
        for hook in hooks:
            hook.remove()
    return NetworkFigures(
        parameters=model.parameter_count(),
        macs=counter.get_total_flops() // 2,
        depthwise_macs=sum(depthwise),
        sparsity=sparsity(model.module)[1],
    )


def compare_layers(before: nn.Module, after: nn.Module) -> tuple[PrunedLayer, ...]:
    """Return the channels of all convolutions and linear layers before and after."""
    shares, _ = sparsity(after)
    widths = {
        name: int(layer.weight.shape[_output_axis(layer)])
        for name, layer in weighted_layers(before)
    }
    return tuple(
        PrunedLayer(name, widths[name], int(layer.weight.shape[_output_axis(layer)]), shares[name])
        for name, layer in weighted_layers(after)
    )


def measure_networks(
    models: Sequence[TorchModel],
    runs: int = DEFAULT_RUNS,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> list[tuple[int, Spread]]:
    """Return the size of each model's ONNX file, and the CPU time of one image in seconds.

    All are exported and timed interleaved in ONNX Runtime on one thread. Raises ModelError for a
    model that cannot be exported, CancelledError.
    """

    def check(fraction: float) -> None:
        if cancelled():
            raise CancelledError("the measurement was cancelled")
        progress("measuring the time", fraction)

    try:
        with tempfile.TemporaryDirectory(prefix="edge_inference_prune_") as folder:
            files = {str(index): Path(folder) / f"{index}.onnx" for index in range(len(models))}
            inputs: dict[str, Mapping[str, Any]] = {}
            for (name, file), model in zip(files.items(), models, strict=True):
                check(0.0)
                export_onnx(model, file, dynamic_batch=False)
                shape = tuple(model.example_input().shape)
                image = np.random.default_rng(0).random(shape, dtype=np.float32)
                inputs[name] = {model.input.name: image}
            times = measure_files(files, inputs, runs, check)
            return [(file.stat().st_size, times[name]) for name, file in files.items()]
    except OSError as error:
        raise ModelError(
            f"the ONNX files to measure cannot be written to {tempfile.gettempdir()} "
            f"({describe_write_error(error)}); set TMPDIR to a folder with space"
        ) from error


def compare_networks(
    before: TorchModel,
    after: TorchModel,
    runs: int | None = DEFAULT_RUNS,
    progress: Progress = lambda phase, fraction: None,
    cancelled: Cancelled = lambda: False,
) -> tuple[NetworkFigures, NetworkFigures]:
    """Count two networks, and measure both interleaved unless ``runs`` is None."""
    figures = [count_network(before), count_network(after)]
    if runs is not None:
        measured = measure_networks([before, after], runs, progress, cancelled)
        figures = [
            replace(each, bytes=size, time=time)
            for each, (size, time) in zip(figures, measured, strict=True)
        ]
    return figures[0], figures[1]


def _output_axis(layer: Any) -> int:
    return 1 if getattr(layer, "transposed", False) else 0

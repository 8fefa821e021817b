"""Derives a model in another precision from its fp32 ONNX file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.core.models.model import ModelDescription
from edge_inference.core.models.variants import PRECISIONS, REST_PRECISIONS, TENSORRT
from edge_inference.core.onnx_format.onnx_files import model_size, onnx_digest
from edge_inference.engines.precision.calibration import Calibration
from edge_inference.engines.precision.exclude import (
    IN_7_BITS,
    masked_nodes,
    named_nodes,
    selecting_nodes,
    tail_nodes,
)
from edge_inference.engines.precision.folding import fold
from edge_inference.engines.precision.fp16 import to_fp16
from edge_inference.engines.precision.int8 import TARGETS, to_int8
from edge_inference.engines.precision.int8_mode import FULL_BITS
from edge_inference.engines.precision.onnx_file import (
    check_network,
    first_line,
    import_onnx,
    infer_shapes,
    opset_of,
    write_onnx,
)
from edge_inference.engines.precision.opset import FP16_PAIRS_OPSET, convert_opset
from edge_inference.engines.precision.scales import WEIGHT_RANGES
from edge_inference.engines.quantized.variant_choice import require_unquantized
from edge_inference.errors import BackendError, ConfigError, ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

DERIVED = tuple(name for name in PRECISIONS if name != "fp32")


@dataclass(frozen=True)
class DeriveReport:
    """A summary of a derived model.

    ``converted`` counts the nodes in the new precision by operator; ``kept`` gives the reason
    for each other node, which computes in ``rest``. Sizes are in bytes; ``weight_bits`` apply to
    int8.
    """

    precision: str
    target: str
    opset: int
    source_bytes: int
    bytes: int
    converted: Mapping[str, int]
    kept: Mapping[str, str]
    weight_bits: int | None = None
    rest: str = "fp32"

    def summary(self) -> str:
        """Return the summary as one sentence."""
        reasons = Counter(self.kept.values())
        listing = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        reasons_text = f" ({listing})" if listing else ""
        weights = " with 7-bit weights" if self.weight_bits == 7 else ""
        return (
            f"{self.precision}{weights} for {self.target}: {sum(self.converted.values())} nodes in "
            f"{self.precision}, {len(self.kept)} in {self.rest}{reasons_text}, "
            f"opset {self.opset}, {self.source_bytes / 1e6:.1f} -> {self.bytes / 1e6:.1f} MB"
        )


def derive(
    source: Path,
    precision: str,
    target: str,
    destination: Path,
    *,
    keep_fp32: Sequence[str] = (),
    calibration: Calibration | None = None,
    per_channel: bool = True,
    weight_bits: int = FULL_BITS,
    reduce_range: Sequence[str] = (),
    rest: str = "fp32",
    rest_keep_fp32: Sequence[str] = (),
) -> DeriveReport:
    """Derive a model from an fp32 ONNX file, for a precision and a kind of engine.

    ``keep_fp32`` names nodes that stay in fp32, or operators or patterns of them. int8 needs a
    ``calibration`` of ``source``; its ``weight_bits`` are 8 or 7, and the nodes after the last
    layer with weights stay in fp32, too. The int8 weights of the nodes ``reduce_range`` have 7
    bits (ONNX Runtime's ``reduce_range``). For TensorRT the nodes that do not compute in int8 may
    compute in fp16 as the ``rest``, but for the nodes ``rest_keep_fp32``; the opset is 19 then.
    Inputs and outputs do not change; an opset before 13
    becomes 13 if the package onnx can convert it. The same arguments give the same bytes;
    ``destination`` is written atomically, with a file of weights beside it if they are too large
    for one file. Raises ConfigError for an unknown precision, target
    or number of bits, ModelError for a file, calibration or node name that does not fit,
    BackendError where a package is missing or fails.
    """
    choices: tuple[tuple[str, object, Collection[object]], ...] = (
        ("precision", precision, DERIVED),
        ("target", target, TARGETS),
        ("weight_bits", weight_bits, WEIGHT_RANGES.keys()),
        ("rest", rest, REST_PRECISIONS),
    )
    for name, value, known in choices:
        if value not in known:
            raise ConfigError(
                f"{name}: expected one of {', '.join(map(str, known))}, got {value!r}"
            )
    source, destination = Path(source), Path(destination)
    require_unquantized(source, precision)
    if precision == "int8":
        if calibration is None:
            raise ModelError(
                f"{source}: int8 needs a calibration; make one with: edge-inference quantize "
                "MODEL --calibration IMAGES --output FOLDER"
            )
        calibration.check_fits(onnx_digest(source), str(source))
    model = fold(source)
    where = str(source)
    keep = named_nodes(model, keep_fp32, where)
    operators = {node.name: node.op_type for node in model.graph.node}
    fp16_rest = rest == "fp16" and precision == "int8" and target == TENSORRT
    try:
        if precision == "fp16":
            derived, kept = to_fp16(model, {**selecting_nodes(model), **keep})
        else:
            assert calibration is not None
            reduced = named_nodes(model, reduce_range, where, IN_7_BITS)
            in_fp32 = {}
            if fp16_rest:
                in_fp32 = {
                    **selecting_nodes(model),
                    **named_nodes(model, rest_keep_fp32, where),
                }
                model = infer_shapes(convert_opset(model, FP16_PAIRS_OPSET))
            keep = {**tail_nodes(model), **masked_nodes(model, calibration.masked), **keep}
            derived, kept = to_int8(
                model,
                target,
                calibration.ranges,
                keep,
                per_channel=per_channel,
                weight_bits=weight_bits,
                reduce_range=reduced,
                fp16_scales=fp16_rest,
            )
            if fp16_rest:
                derived, _ = to_fp16(infer_shapes(derived), in_fp32)
    except (ModelError, BackendError) as error:
        raise type(error)(f"{where}: {error}") from error
    _check(derived, source)
    write_onnx(derived, destination)
    return DeriveReport(
        precision=precision,
        target=target,
        opset=opset_of(derived),
        source_bytes=model_size(source),
        bytes=model_size(destination),
        converted=Counter(kind for name, kind in operators.items() if name not in kept),
        kept=kept,
        weight_bits=weight_bits if precision == "int8" else None,
        rest="fp16" if fp16_rest else "fp32",
    )


def derive_model(
    model: ModelDescription,
    precision: str,
    target: str,
    destination: Path,
    weight_bits: int = FULL_BITS,
    *,
    keep_fp32: Sequence[str] | None = None,
) -> DeriveReport:
    """Derive a model from its fp32 variant as its section ``derive`` says.

    ``keep_fp32`` are other nodes that stay in fp32 than those of the section. Raises what
    ``derive`` raises.
    """
    settings, calibration = model.derive, None
    if precision == "int8" and model.calibration is not None:
        calibration = Calibration.load(model.calibration)
    return derive(
        model.variants["fp32"].file,
        precision,
        target,
        destination,
        keep_fp32=settings.keep_fp32(precision) if keep_fp32 is None else keep_fp32,
        calibration=calibration,
        weight_bits=weight_bits,
        reduce_range=settings.int8_reduce_range,
        rest=settings.int8_rest,
        rest_keep_fp32=settings.fp16_keep_fp32,
    )


def _check(model: ModelProto, source: Path) -> None:
    onnx = import_onnx()
    try:
        check_network(model, source, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BackendError(
            f"{source}: the derived model is not valid ({first_line(error)}); keep the node "
            "that it names in fp32"
        ) from error

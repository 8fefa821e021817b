"""Lowers the files of a speech recognizer: fp32 standard operators, no branches, no masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge_inference.engines.build.profiles import Profile
from edge_inference.engines.precision.onnx_file import first_line, import_onnx
from edge_inference.engines.precision.opset import convert_opset
from edge_inference.errors import ModelError
from edge_inference.optimize.onnx_lowering.branches import keep_outputs, split_branches
from edge_inference.optimize.onnx_lowering.constant_shapes import fold_constant_shapes
from edge_inference.optimize.onnx_lowering.mask_removal import remove_mask_input
from edge_inference.optimize.onnx_lowering.ort_file import read_ort_model
from edge_inference.optimize.onnx_lowering.standard_ops import lower_to_standard_ops

if TYPE_CHECKING:
    from onnx import ModelProto

ENCODER, DECODER, WITH_PAST = "encoder", "decoder", "decoder_with_past"
#: Attention masks, which are all ones: a batch is one utterance without padding.
_MASKS = ("attention_mask", "encoder_attention_mask")
_MIN_OPSET = 17
_PRODUCER = "edge_inference"

#: Minimum, typical and maximum length of an axis.
LengthRange = tuple[int, int, int]


def lower_speech_graph(role: str, files: Mapping[str, Path]) -> ModelProto:
    """Return one of the graphs encoder, decoder and decoder_with_past.

    ``files`` are the recognizer's files by role; without a decoder_with_past, the decoder is a
    merged one and is split. The decoder computes the encoder's keys and values once; the decoder
    with past does not output them. Raises ModelError for other files, BackendError if a package
    is missing.
    """
    file = files[DECODER] if role == WITH_PAST and WITH_PAST not in files else files[role]
    try:
        model = read_ort_model(file)
        if role != ENCODER and WITH_PAST not in files:
            branches = split_branches(model)
            model = branches.when_true if role == WITH_PAST else branches.when_false
        if role == WITH_PAST:
            keep_outputs(model, lambda name: ".encoder." not in name)
        lower_to_standard_ops(model)
        for mask in _MASKS:
            remove_mask_input(model, mask)
        model = fold_constant_shapes(convert_opset(model, _MIN_OPSET))
    except ModelError as error:
        raise ModelError(f"{file.name}, {role}: {error}") from error
    return _check_graph(model, role)


def shape_profiles(model: ModelProto, lengths: Mapping[str, LengthRange]) -> tuple[Profile, ...]:
    """Return the optimization profile of each input, from the lengths of its named axes.

    Raises ModelError for an axis whose name ``lengths`` does not have.
    """
    return tuple(
        Profile(entry.name, *zip(*_axis_lengths(entry, lengths), strict=True))
        for entry in model.graph.input
    )


def _axis_lengths(entry, lengths: Mapping[str, LengthRange]) -> Sequence[LengthRange]:  # type: ignore[no-untyped-def]
    found = []
    for axis in entry.type.tensor_type.shape.dim:
        if axis.HasField("dim_value"):
            found.append((axis.dim_value,) * 3)
        elif axis.dim_param in lengths:
            found.append(lengths[axis.dim_param])
        else:
            raise ModelError(
                f"input {entry.name!r}: axis {axis.dim_param!r} is not known; known: "
                f"{', '.join(lengths)}"
            )
    return found


def _check_graph(model: ModelProto, role: str) -> ModelProto:
    onnx = import_onnx()
    model.graph.name = role
    model.producer_name, model.producer_version = _PRODUCER, ""
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"{role}: not a valid graph ({first_line(error)})") from error
    return model

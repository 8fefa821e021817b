"""Makes a model folder from an ONNX file: finds out how it is fed and read, and tries that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.core import decoders
from edge_inference.core.disk import describe_write_error
from edge_inference.core.exports.exporter_metadata import read_exporter_metadata
from edge_inference.core.exports.families import propose
from edge_inference.core.exports.graph_input import ImageInput, extra_values, find_image_input
from edge_inference.core.exports.onnx_summary import OnnxSummary, read_summary
from edge_inference.core.exports.proposal import (
    RAW,
    UNIT,
    Evidence,
    Proposal,
    find_lost_scores,
    pixels,
)
from edge_inference.core.exports.sidecars import read_sidecars
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.golden_check import make_ramp_image
from edge_inference.core.models.graph.extra_inputs import to_array
from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription, load_model
from edge_inference.core.onnx_format.onnx_files import external_files
from edge_inference.core.onnx_format.onnx_problems import find_file_problem
from edge_inference.core.results import RESULT_KINDS, Result
from edge_inference.core.settings import rules
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import select_backend
from edge_inference.errors import ConfigError, EdgeInferenceError, ModelError
from edge_inference.optimize.export.model_yaml import UNKNOWN_LICENSE, NewDescription
from edge_inference.optimize.export.staged_model import LABELS_FILE, StagedModel, is_same_file

_QUANTIZED = ("DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul")


@dataclass(frozen=True)
class NewModelRequest:
    """An ONNX file, and what is known of it; empty values stand for what is proposed.

    ``target`` is the folder to write. ``image`` is tried, as ``(H, W, 3 or 4)`` BGR or BGRA;
    without it, a generated one. ``extra_inputs`` are the values of the graph's further inputs.
    """

    file: Path
    target: Path
    image: NDArray[np.uint8] | None = None
    labels: tuple[str, ...] = ()
    task: str = ""
    decoder: str = ""
    extra_inputs: Mapping[str, Any] = field(default_factory=dict)
    replaces: bool = False


@dataclass(frozen=True)
class NewModel:
    """A new model folder, what was proposed for it, and its result on one image."""

    folder: Path
    model: ModelDescription
    description: NewDescription
    result: Result
    problems: tuple[str, ...]


def make_model_folder(
    request: NewModelRequest, before_staging: Callable[[Path], None] = lambda folder: None
) -> NewModel:
    """Write a model folder and run one image through it.

    ``before_staging`` gets the hidden folder before it exists, see :class:`StagedModel`. Nothing
    is written where a model cannot be described, or where it does not run as described. Raises
    PluginError for an unknown task or decoder, ModelError for a file that is no model of images,
    and for a folder that exists or cannot be written.
    """
    if request.task:
        RESULT_KINDS.get(request.task)
    if request.decoder:
        decoders.find(request.decoder)
    problem = find_file_problem(request.file)
    if problem is not None:
        raise ModelError(problem)
    summary = read_summary(request.file)
    weights = [request.file.name, *external_files(request.file)]
    _check_target(request, weights)
    try:
        image, evidence = _read_evidence(request.file, summary, request.labels)
        extra = extra_values(summary, image, request.extra_inputs)
        frame = _frame(request.image, image.color)
        evidence = replace(evidence, outputs=_try(request.file, evidence, image, extra, frame))
        proposal = _choose(request, evidence, image)
    except ModelError as error:
        is_named = str(error).startswith(str(request.file))
        raise ModelError(str(error) if is_named else f"{request.file}: {error}") from error
    staged = StagedModel(request.target, replaces=request.replaces, before_staging=before_staging)
    try:
        staged.make()
        staged.copy_weights(request.file.parent, weights)
        description = _describe(staged, weights, evidence, image, proposal, extra)
        staged.write_description(description)
        model, result = _run(staged.folder, frame, request, proposal)
        folder = staged.keep()
    except OSError as error:
        raise ModelError(
            f"{request.target}: cannot be written ({describe_write_error(error)})"
        ) from error
    finally:
        staged.remove()
    problems = evidence.sidecars.problems
    if model.task == "detection" and "fp32" not in model.variants:
        problems += tuple(find_lost_scores(evidence.outputs))
    return NewModel(folder, model, description, result, problems)


def _describe(
    staged: StagedModel,
    weights: list[str],
    evidence: Evidence,
    image: ImageInput,
    proposal: Proposal,
    extra: Mapping[str, Any],
) -> NewDescription:
    """Describe the staged files, after writing the labels. Raises OSError."""
    metadata, summary = evidence.metadata, evidence.summary
    name = weights[0]
    is_quantized = bool(summary.operators & set(_QUANTIZED))
    checksum, external = staged.checksum_weights(weights)
    return NewDescription(
        proposal=proposal,
        input={**image.keys(), **proposal.input},
        description=metadata.description or f"{proposal.family}, {name}",
        license=metadata.license or UNKNOWN_LICENSE,
        source=metadata.source or summary.producer or name,
        labels=staged.write_labels(proposal.labels),
        extra_inputs=extra,
        precision="int8" if is_quantized else "fp32",
        weights=checksum,
        external=external,
    )


def _frame(pixels: NDArray[np.uint8] | None, color: str) -> Frame:
    """Return the image for a model of that color; an image without alpha becomes opaque."""
    if pixels is None:
        return make_ramp_image(len(color) if color == "RGBA" else 3)
    if color == "RGBA" and pixels.shape[2] == 3:
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    elif color != "RGBA":
        pixels = np.ascontiguousarray(pixels[..., :3])
    return Frame.from_array(pixels)


def _check_target(request: NewModelRequest, names: list[str]) -> None:
    """Raise ModelError if something that would be written exists already."""
    target = request.target
    if target.exists() and not target.is_dir():
        raise ModelError(f"{target}: expected a folder, got a file; name another folder")
    if request.replaces:
        return
    for name in (DESCRIPTION_FILE, LABELS_FILE, *names):
        there = target / name
        if there.exists() and not is_same_file(there, request.file.parent / name):
            raise ModelError(
                f"{there}: it exists already; name another folder, or replace it with --force"
            )


def _read_evidence(
    file: Path, summary: OnnxSummary, labels: tuple[str, ...]
) -> tuple[ImageInput, Evidence]:
    """Collect what is known without a run."""
    metadata = read_exporter_metadata(summary.metadata)
    sidecars = read_sidecars(file.parent)
    image = find_image_input(summary, metadata, sidecars)
    return image, Evidence(
        stem=file.stem,
        summary=summary,
        metadata=metadata,
        sidecars=sidecars,
        image=image.tensor,
        extra=tuple(tensor for tensor in summary.inputs if tensor is not image.tensor),
        width=image.width,
        height=image.height,
        outputs={},
        labels=labels,
    )


def _try(
    file: Path, evidence: Evidence, image: ImageInput, extra: Mapping[str, Any], frame: Frame
) -> Mapping[str, NDArray[Any]]:
    """Return the outputs for an image, with a provisional normalization."""
    scale = RAW if evidence.is_integer_input else UNIT
    spec = _spec({**image.keys(), **scale}, file)
    trial = ModelDescription(
        name=file.stem,
        folder=file.parent,
        task="",
        description="",
        license="",
        source="",
        input=spec,
        decoder="",
        decoder_settings=None,
        labels=(),
        variants={},
        golden=(),
        extra_inputs={name: _to_array(name, value) for name, value in extra.items()},
    )
    with OrtBackend(file).fit_to(trial) as backend:
        return backend.infer({spec.name: Preprocessor(spec)(frame)[0]})


def _to_array(name: str, value: Any) -> NDArray[Any]:
    try:
        return to_array(value)
    except ConfigError as error:
        raise ModelError(f"--extra-input {name!r:.100}: {error}") from None


def _spec(keys: Mapping[str, Any], file: Path) -> InputSpec:
    known = rules(InputSpec)
    try:
        return InputSpec(**{key: known[key].convert(value) for key, value in keys.items()})
    except (EdgeInferenceError, KeyError) as error:
        raise ModelError(f"{file}: its input cannot be fed: {error}") from error


def _choose(request: NewModelRequest, evidence: Evidence, image: ImageInput) -> Proposal:
    """Return the proposal with the user's own choices. Raises ModelError for unknown outputs."""
    proposal = None
    try:
        proposal = propose(evidence)
    except ModelError:
        if not request.decoder:
            raise
    if proposal is None and not request.decoder:
        raise ModelError(
            f"no decoder is known for its outputs {_describe_outputs(evidence)}; name one with "
            f"--decoder: {', '.join(decoders.names())}, or your own module:function"
        )
    if proposal is None or request.decoder not in ("", proposal.decoder):
        task = request.task or (proposal.task if proposal is not None else "detection")
        family = proposal.family if proposal is not None else "unknown"
        image_keys = proposal.input if proposal is not None else pixels(evidence, UNIT)
        labels = evidence.labels or evidence.metadata.labels or evidence.sidecars.labels
        proposal = Proposal(family, task, request.decoder, {}, image_keys, labels).assuming(
            {
                "decoder.name": "named with --decoder; its other settings are the defaults",
                "input.mean": "assumed; check mean, std, color and resize with a known image",
            }
        )
    if request.task:
        proposal = replace(proposal, task=request.task)
    return proposal.in_color(image.color).assuming(image.assumed)


def _describe_outputs(evidence: Evidence) -> str:
    return ", ".join(
        f"{name} {array.dtype} {list(array.shape)}" for name, array in evidence.outputs.items()
    )


def _run(
    folder: Path, frame: Frame, request: NewModelRequest, proposal: Proposal
) -> tuple[ModelDescription, Result]:
    """Run an image as ``run perception`` does. Raises ModelError where that fails."""
    try:
        model = load_model(folder)
        (precision,) = model.variants
        selection = select_backend(EngineRequest(model, "ort", precision))
        assert selection.backend is not None
        tensor, geometry = Preprocessor(model.input)(frame)
        with selection.backend as backend:
            outputs = backend.infer({model.input.name: tensor})
        return model, model.decode(outputs, geometry)
    except EdgeInferenceError as error:
        text = str(error).replace(str(folder), str(request.target))
        raise ModelError(
            f"{request.file}: it does not run as proposed ({proposal.family}, decoder "
            f"{proposal.decoder}), so nothing was written: {text}"
        ) from error

"""``edge-inference models new``: writes the model folder of an ONNX file, and tries it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.backends.ort import OrtBackend
from edge_inference.cli.exit_status import UsageError
from edge_inference.cli.exports.new_model_report import NewModelReport
from edge_inference.cli.exports.staged_model import LABELS_FILE, StagedModel, is_same_file
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
from edge_inference.core.images import image_file
from edge_inference.core.images.frame import Frame
from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.label_file import read_labels_file
from edge_inference.core.models.golden_check import make_ramp_image
from edge_inference.core.models.graph.extra_inputs import to_array
from edge_inference.core.models.model import DESCRIPTION_FILE, ModelDescription, load_model
from edge_inference.core.models.model_search import default_search_path
from edge_inference.core.onnx_format.onnx_files import external_files
from edge_inference.core.onnx_format.onnx_problems import find_file_problem
from edge_inference.core.results import RESULT_KINDS, Result
from edge_inference.core.settings import rules
from edge_inference.engines.serving.backend_table import EngineRequest
from edge_inference.engines.serving.selection import select_backend
from edge_inference.errors import ConfigError, EdgeInferenceError, ImageError, ModelError

_SAMPLE = Path("nanodet", "golden", "astronaut.jpg")


@dataclass(frozen=True)
class NewModelOptions:
    """What the user asks for; empty texts stand for what is proposed."""

    file: Path
    folder: Path | None = None
    image: Path | None = None
    labels: Path | None = None
    task: str = ""
    decoder: str = ""
    name: str = ""
    extra_inputs: Mapping[str, Any] | None = None
    force: bool = False
    as_json: bool = False

    @property
    def target(self) -> Path:
        """The folder to write."""
        return self.folder or Path(self.name or self.file.stem)


def new_model(options: NewModelOptions) -> int:
    """Write a model folder, run one image through it, and print both; return the exit code.

    Nothing is written where a model cannot be described, or where it does not run as described.
    Raises EdgeInferenceError.
    """
    if options.folder is not None and options.name:
        raise UsageError("--name and a folder exclude each other; the folder's name is the name")
    if options.task:
        RESULT_KINDS.get(options.task)
    if options.decoder:
        decoders.find(options.decoder)
    source, image_name = _read_image(options.image)
    labels = read_labels_file(options.labels) if options.labels is not None else ()
    problem = find_file_problem(options.file)
    if problem is not None:
        raise ModelError(problem)
    summary = read_summary(options.file)
    weights = [options.file.name, *external_files(options.file)]
    _check_target(options, weights)
    try:
        image, evidence = _read_evidence(options.file, summary, labels)
        extra = extra_values(summary, image, options.extra_inputs or {})
        frame = _frame(source, image.color)
        evidence = replace(evidence, outputs=_try(options.file, evidence, image, extra, frame))
        proposal = _choose(options, evidence, image)
    except ModelError as error:
        is_named = str(error).startswith(str(options.file))
        raise ModelError(str(error) if is_named else f"{options.file}: {error}") from error
    staged = StagedModel(options.file, options.target, weights, replaces=options.force)
    try:
        description = staged.write(evidence, image, proposal, extra)
        model, result = _run(staged.folder, frame, options, proposal)
        folder = staged.keep()
    except OSError as error:
        raise ModelError(
            f"{options.target}: cannot be written ({describe_write_error(error)})"
        ) from error
    finally:
        staged.remove()
    problems = evidence.sidecars.problems
    if model.task == "detection" and "fp32" not in model.variants:
        problems += tuple(find_lost_scores(evidence.outputs))
    report = NewModelReport(folder, model, description, image_name, result, problems)
    sys.stdout.write(json.dumps(report.to_json()) + "\n" if options.as_json else report.text())
    return 0


def _read_image(file: Path | None) -> tuple[NDArray[np.uint8] | None, str]:
    """Return the image to try as BGR or BGRA, None without a sample; and its name."""
    if file is None:
        samples = [parent / _SAMPLE for parent in default_search_path()]
        file = next((sample for sample in samples if sample.is_file()), None)
    if file is None:
        return None, "a generated image"
    try:
        return image_file.read_image(file, keeps_alpha=True), file.name
    except OSError as error:
        raise ImageError(
            f"{file}: cannot be read ({error.strerror}); name an image with --image"
        ) from error
    except ImageError as error:
        raise ImageError(f"{file}: {error}; name another image with --image") from error


def _frame(pixels: NDArray[np.uint8] | None, color: str) -> Frame:
    """Return the image for a model of that color; an image without alpha becomes opaque."""
    if pixels is None:
        return make_ramp_image(len(color) if color == "RGBA" else 3)
    if color == "RGBA" and pixels.shape[2] == 3:
        pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    elif color != "RGBA":
        pixels = np.ascontiguousarray(pixels[..., :3])
    return Frame.from_array(pixels)


def _check_target(options: NewModelOptions, names: list[str]) -> None:
    """Raise ModelError if something that would be written exists already."""
    target = options.target
    if target.exists() and not target.is_dir():
        raise ModelError(f"{target}: expected a folder, got a file; name another folder")
    if options.force:
        return
    for name in (DESCRIPTION_FILE, LABELS_FILE, *names):
        there = target / name
        if there.exists() and not is_same_file(there, options.file.parent / name):
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


def _choose(options: NewModelOptions, evidence: Evidence, image: ImageInput) -> Proposal:
    """Return the proposal with the user's own choices. Raises ModelError for unknown outputs."""
    proposal = None
    try:
        proposal = propose(evidence)
    except ModelError:
        if not options.decoder:
            raise
    if proposal is None and not options.decoder:
        raise ModelError(
            f"no decoder is known for its outputs {_describe_outputs(evidence)}; name one with "
            f"--decoder: {', '.join(decoders.names())}, or your own module:function"
        )
    if proposal is None or options.decoder not in ("", proposal.decoder):
        task = options.task or (proposal.task if proposal is not None else "detection")
        family = proposal.family if proposal is not None else "unknown"
        image_keys = proposal.input if proposal is not None else pixels(evidence, UNIT)
        labels = evidence.labels or evidence.metadata.labels or evidence.sidecars.labels
        proposal = Proposal(family, task, options.decoder, {}, image_keys, labels).assuming(
            {
                "decoder.name": "named with --decoder; its other settings are the defaults",
                "input.mean": "assumed; check mean, std, color and resize with a known image",
            }
        )
    if options.task:
        proposal = replace(proposal, task=options.task)
    return proposal.in_color(image.color).assuming(image.assumed)


def _describe_outputs(evidence: Evidence) -> str:
    return ", ".join(
        f"{name} {array.dtype} {list(array.shape)}" for name, array in evidence.outputs.items()
    )


def _run(
    folder: Path, frame: Frame, options: NewModelOptions, proposal: Proposal
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
        text = str(error).replace(str(folder), str(options.target))
        raise ModelError(
            f"{options.file}: it does not run as proposed ({proposal.family}, decoder "
            f"{proposal.decoder}), so nothing was written: {text}"
        ) from error

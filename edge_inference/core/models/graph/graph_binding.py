"""Fits a model's description to the inputs and outputs of its graph.

Callers always feed one tensor, the image's, with a batch axis, and get outputs with a batch
axis. The graph may have no batch axis, a fixed batch above 1, or further inputs with values in
``model.yaml``. Whatever in ``model.yaml`` contradicts the graph is found here, when the graph is
opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.images.input_spec import InputSpec
from edge_inference.core.models.graph.extra_inputs import KEY, cast_to, describe_missing
from edge_inference.core.models.graph.tensor_spec import TensorSpec
from edge_inference.core.models.model import ModelDescription
from edge_inference.core.settings import suggestion
from edge_inference.errors import ModelError, TensorError


@dataclass(frozen=True)
class GraphBinding:
    """The tensors of a graph as callers see them.

    ``inputs`` are the tensors to feed, ``outputs`` those to expect. Without a model they are
    those of the graph.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    _image: TensorSpec | None = None
    _batch: int | None = None
    _constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    _graph_outputs: tuple[TensorSpec, ...] = ()

    def feed(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Return the graph's inputs for a caller's checked tensors.

        A batch with fewer rows than the graph's is filled with its last row. Raises TensorError
        for more rows.
        """
        if self._image is None:
            return tensors
        tensor = tensors[self._image.name]
        if self._batch is None:
            tensor = tensor[0]
        elif self._batch > 1 and len(tensor) != self._batch:
            if not 1 <= len(tensor) <= self._batch:
                raise TensorError(
                    f"tensor {self._image.name!r}: expected 1 to {self._batch} images, as the "
                    f"graph has a fixed batch of {self._batch}, got {len(tensor)}"
                )
            tensor = tensor[np.minimum(np.arange(self._batch), len(tensor) - 1)]
        tensor = tensor.astype(self._image.dtype, copy=False)
        return {**self._constants, self._image.name: tensor}

    def unwrap(
        self, outputs: dict[str, NDArray[Any]], tensors: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return a graph's outputs as callers expect them, with a row for each image fed."""
        if self._image is None or self._batch == 1:
            return outputs
        if self._batch is None:
            return {
                name: array if _has_leading_one(spec) else array[np.newaxis]
                for name, array, spec in self._with_specs(outputs)
            }
        rows = len(tensors[self._image.name])
        return {
            name: array[:rows] if spec.shape[:1] == (self._batch,) else array
            for name, array, spec in self._with_specs(outputs)
        }

    def _with_specs(
        self, outputs: Mapping[str, NDArray[Any]]
    ) -> list[tuple[str, NDArray[Any], TensorSpec]]:
        return [(spec.name, outputs[spec.name], spec) for spec in self._graph_outputs]


def bind_graph(
    model: ModelDescription, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> GraphBinding:
    """Fit a model to its graph's inputs and outputs.

    Raises ModelError with the key of ``model.yaml`` to change where they contradict each other.
    """
    try:
        return _bind(model, tuple(inputs), tuple(outputs))
    except ModelError as error:
        raise ModelError(f"model {model.name}: {error}") from None


def _bind(
    model: ModelDescription, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> GraphBinding:
    spec = model.input
    by_name = {each.name: each for each in inputs}
    image = by_name.get(spec.name)
    if image is None:
        raise ModelError(
            f"the graph has no input {spec.name!r}; it has {'; '.join(map(str, inputs)) or 'none'}"
            "; correct input.name in model.yaml"
        )
    extra = {name: each for name, each in by_name.items() if name != spec.name}
    for name in model.extra_inputs:
        if name not in extra:
            raise ModelError(
                f"{KEY}.{name}: the graph has no such input; correct or remove it"
                f"{suggestion(name, extra) if extra else ''}"
            )
    for name, each in extra.items():
        if name not in model.extra_inputs:
            raise ModelError(describe_missing(each))
    _check_image(spec, image)
    batch = spec.batch if spec.has_batch_axis else None
    # Rows are independent of the number of images only where the graph fixes it.
    axis = image.shape[0] if batch == 1 and image.shape else None
    shape = (axis, *spec.shape[1:]) if batch is not None else spec.shape
    return GraphBinding(
        inputs=(replace(image, dtype=np.dtype(spec.dtype), shape=shape),),
        outputs=tuple(_visible(each, batch) for each in outputs),
        _image=image,
        _batch=batch,
        _constants={name: cast_to(model.extra_inputs[name], each) for name, each in extra.items()},
        _graph_outputs=outputs,
    )


def _visible(spec: TensorSpec, batch: int | None) -> TensorSpec:
    if batch is None:
        return spec if _has_leading_one(spec) else replace(spec, shape=(1, *spec.shape))
    if batch > 1 and spec.shape[:1] == (batch,):
        return replace(spec, shape=(None, *spec.shape[1:]))
    return spec


def _has_leading_one(spec: TensorSpec) -> bool:
    """Tell whether an output of a graph without a batch axis has one all the same."""
    return spec.shape[:1] == (1,)


def _check_image(spec: InputSpec, image: TensorSpec) -> None:
    """Raise ModelError where the image's input differs from the section ``input``."""
    if not image.shape:  # the graph tells none, since no image is a scalar
        image = replace(image, shape=(None,) * len(spec.graph_shape))
    problem = (
        _axes_problem(spec, image)
        or _layout_problem(spec, image)
        or _batch_problem(spec, image)
        or _channels_problem(spec, image)
        or _size_problem(spec, image)
        or _dtype_problem(spec, image)
    )
    if problem:
        raise ModelError(
            f"input {image.name!r} of the graph is {image.dtype} {image.axes}{problem}"
        )


def _axes_problem(spec: InputSpec, image: TensorSpec) -> str:
    wanted, got = len(spec.graph_shape), len(image.shape)
    if wanted == got:
        return ""
    said = f", but layout {spec.layout} has {wanted} axes"
    if {wanted, got} == {3, 4}:
        layout = spec.layout[1:] if wanted == 4 else f"N{spec.layout}"
        return f"{said}; set input.layout to {_guess_layout(spec, image, layout)}"
    return f"{said}; export the model with an input of one image: 3 or 4 axes"


def _guess_layout(spec: InputSpec, image: TensorSpec, layout: str) -> str:
    other = _SWAPPED[layout]
    return other if _misfits(spec, image, layout) > _misfits(spec, image, other) else layout


def _layout_problem(spec: InputSpec, image: TensorSpec) -> str:
    other = _SWAPPED[spec.layout]
    if _channels_fit(spec, image, spec.layout):
        return ""
    here, there = (image.shape[_axis(layout, "C")] for layout in (spec.layout, other))
    is_swapped = here not in _USUAL_CHANNELS and there in _USUAL_CHANNELS
    if not (is_swapped or _channels_fit(spec, image, other)):
        return ""
    return f", but layout is {spec.layout}; set input.layout to {other}"


def _batch_problem(spec: InputSpec, image: TensorSpec) -> str:
    if not spec.has_batch_axis or image.shape[0] == spec.batch:
        return ""
    fixed = image.shape[0]
    if fixed is None:
        if spec.batch == 1:
            return ""
        return f", whose batch has any length, but batch is {spec.batch}; remove input.batch"
    if fixed == 1:
        return f", whose batch is 1, but batch is {spec.batch}; remove input.batch"
    return (
        f", whose batch is fixed at {fixed}, but batch is {spec.batch}; set input.batch to {fixed}"
        f" (each image then costs as much as {fixed}), or export the model with batch 1"
    )


def _channels_problem(spec: InputSpec, image: TensorSpec) -> str:
    if _channels_fit(spec, image, spec.layout):
        return ""
    count = image.shape[_axis(spec.layout, "C")]
    colors = {1: "GRAY", 3: "RGB or BGR", 4: "RGBA or BGRA"}.get(count or 0, "")
    own = f"MULTI with input.channel_count {count}"
    return (
        f", with {count} channels, but color {spec.color} has {spec.channels}; set input.color to "
        + (f"{colors}, or to {own}" if colors else own)
    )


def _size_problem(spec: InputSpec, image: TensorSpec) -> str:
    wrong = []
    for key, letter, value in (("width", "W", spec.width), ("height", "H", spec.height)):
        length = image.shape[_axis(spec.layout, letter)]
        if length not in (None, value):
            wrong.append((f"{key} is {value}", f"input.{key} to {length}"))
    if not wrong:
        return ""
    said, keys = zip(*wrong, strict=True)
    return f", but {' and '.join(said)}; set {' and '.join(keys)}"


def _dtype_problem(spec: InputSpec, image: TensorSpec) -> str:
    wanted = np.dtype(spec.dtype)
    if image.dtype == wanted or _NARROWED.get(wanted.name) == image.dtype.name:
        return ""
    return f", but dtype is {spec.dtype}; set input.dtype to {image.dtype}"


#: TensorRT reads double as float, TensorRT 8.6 also int64 as int32: they hold every pixel value.
_NARROWED = {"float64": "float32", "int64": "int32"}
_USUAL_CHANNELS = (1, 3, 4)
_SWAPPED = {"NCHW": "NHWC", "NHWC": "NCHW", "CHW": "HWC", "HWC": "CHW"}


def _axis(layout: str, letter: str) -> int:
    return layout.index(letter)


def _channels_fit(spec: InputSpec, image: TensorSpec, layout: str) -> bool:
    return image.shape[_axis(layout, "C")] in (None, spec.channels)


def _misfits(spec: InputSpec, image: TensorSpec, layout: str) -> int:
    """Count the axes of the image that differ from a layout."""
    wanted = {"C": spec.channels, "H": spec.height, "W": spec.width}
    return sum(
        image.shape[_axis(layout, letter)] not in (None, length)
        for letter, length in wanted.items()
    )

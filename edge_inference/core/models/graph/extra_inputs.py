"""The inputs of a graph besides the image: values that ``model.yaml`` states.

Some exporters add inputs that are the same for every image, such as the size to which boxes are
scaled (``orig_target_sizes`` of RT-DETR and D-FINE, ``im_shape`` and ``scale_factor`` of
PaddleDetection). The key ``extra_inputs`` gives each a number, a truth value or nested lists of
them::

    extra_inputs: {orig_target_sizes: [[640, 640]]}
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.models.graph.tensor_spec import TensorSpec
from edge_inference.core.settings import shorten
from edge_inference.core.yaml_file import Section
from edge_inference.errors import ConfigError, ModelError

KEY = "extra_inputs"
#: An example of more values than this is not written out.
_MAX_SHOWN_VALUES = 16


def read_extra_inputs(top: Section, image_input: str) -> dict[str, NDArray[Any]]:
    """Return the values by input name as int64, float64 or bool; nothing without the key.

    ``image_input`` is the name of the image's input, which has no fixed value. Raises ConfigError.
    """
    if KEY not in top:
        return {}
    section = top.section(KEY)
    values = {}
    for name, value in section.plain().items():
        if name == image_input:
            raise section.error(
                name, "this is input.name, which the image fills; remove it from extra_inputs"
            )
        try:
            values[name] = to_array(value)
        except ConfigError as error:
            raise section.error(name, str(error)) from None
    return values


def to_array(value: Any) -> NDArray[Any]:
    """Return a number, a truth value or nested lists of them as an array. Raises ConfigError."""
    try:
        array = np.array(value)
    except ValueError:  # lists of different lengths
        array = np.array(None)
    kinds = {type(entry) for entry in _entries(value)}
    if array.dtype.kind not in "iufb" or (bool in kinds and len(kinds) > 1):
        raise ConfigError(
            "expected a number, true or false, or nested lists of them of equal lengths, got "
            f"{shorten(value)}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ConfigError(f"expected finite numbers, got {shorten(value)}")
    array.flags.writeable = False
    return array


def _entries(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [entry for item in value for entry in _entries(item)]
    return [value]


def cast_to(value: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Return a value of ``extra_inputs`` as the graph's input takes it.

    Raises ModelError for another shape, and for values that the input's type cannot hold. A
    fraction is rounded to the floating point type of the input.
    """
    fits = value.ndim == len(spec.shape) and all(
        expected in (None, length) for expected, length in zip(spec.shape, value.shape, strict=True)
    )
    if not fits:
        raise ModelError(
            f"{KEY}.{spec.name}: expected the shape {spec.axes} as in the graph, got "
            f"{list(value.shape)}; {_shape_hint(value, spec)}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        cast = value.astype(spec.dtype)
        is_same = np.array_equal(cast.astype(value.dtype), value)
    if value.dtype.kind == "f" and spec.dtype.kind == "f":
        is_same = bool(np.isfinite(cast).all())
    if not is_same or (value.dtype == np.bool_) > (spec.dtype == np.bool_):
        raise ModelError(
            f"{KEY}.{spec.name}: expected values of {spec.dtype} as in the graph, got "
            f"{shorten(value.tolist())}; write values that {spec.dtype} can hold"
        )
    return np.ascontiguousarray(cast)


def describe_missing(spec: TensorSpec) -> str:
    """Return the sentence for an input without a value, with the key to add."""
    return (
        f"the graph has a second input {spec} without a value; give it one in model.yaml, as in "
        f"{KEY}: {{{spec.name}: {_example(spec)}}} with the numbers that the model expects"
    )


def _shape_hint(value: NDArray[Any], spec: TensorSpec) -> str:
    lengths = [-1 if length is None else length for length in spec.shape]
    if value.size <= _MAX_SHOWN_VALUES and lengths.count(-1) <= 1:
        try:
            return f"write {value.reshape(lengths).tolist()}"
        except ValueError:  # another number of values
            pass
    return f"correct {KEY} in model.yaml"


def _example(spec: TensorSpec) -> str:
    shape = [1 if length is None else length for length in spec.shape]
    example: Any = np.zeros(shape if math.prod(shape) <= _MAX_SHOWN_VALUES else (), spec.dtype)
    text = str(example.tolist())
    return text.lower() if spec.dtype == np.bool_ else text

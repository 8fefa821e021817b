"""Finds a model's outputs and checks them before a decoder uses them.

Every function raises a TensorError with the tensor, what was expected,
what was got, and the setting of ``model.yaml`` that corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_inference.core.decoders.activations import PROBABILITY_TOLERANCE
from edge_inference.core.settings import suggestion
from edge_inference.errors import TensorError

#: Hint for scores of boxes that are logits.
SIGMOID_HINT = "export the model with its sigmoid, or correct boxes_output in model.yaml"
_ACTIVATION_HINT = "set activation to softmax or sigmoid in model.yaml if these are logits"
_CLASSES_HINT = "correct labels in model.yaml or the decoder's output settings"
_COLUMNS_HINT = "correct columns, classes_output or layout of the decoder in model.yaml"
_FROM_ONE_HINT = "set background to true in model.yaml if class 1 is the first label"
_BACKGROUND_LABELS = ("background", "bg")


class Output(NamedTuple):
    """One output tensor and its name."""

    name: str
    array: NDArray[Any]


def choose_output(
    outputs: Mapping[str, NDArray[Any]],
    named: str,
    *,
    setting: str,
    expected: str,
    fits: Callable[[NDArray[Any]], bool],
    keywords: Sequence[str] = (),
    excluded: Collection[str] = (),
) -> Output:
    """Return the output that the setting names, else the one that matches.

    Without a name, a single output is chosen. Of several outputs, the candidates are those that
    ``fits`` accepts and that are not ``excluded``. If there are several candidates, those with
    one of ``keywords`` in their name remain. ``expected`` describes the output in the error.
    """
    if named:
        return output_by_name(outputs, named, setting)
    free = {name: array for name, array in outputs.items() if name not in excluded}
    if len(outputs) == 1 and free:
        return Output(*next(iter(free.items())))
    found = [name for name, array in free.items() if fits(array)]
    if len(found) > 1:
        found = [name for name in found if any(word in name.lower() for word in keywords)] or found
    if len(found) != 1:
        several = f"; {' and '.join(found)} match" if found else ""
        raise TensorError(
            f"expected one output with {expected}, got {format_outputs(outputs)}{several}; "
            f"name the tensor with {setting} in model.yaml"
        )
    return Output(found[0], free[found[0]])


def output_by_name(outputs: Mapping[str, NDArray[Any]], name: str, setting: str) -> Output:
    """Return the output of that name, which is the value of ``setting``."""
    if name not in outputs:
        raise TensorError(
            f"output {name!r} is missing; the model has {format_outputs(outputs)}; "
            f"correct {setting} in model.yaml{suggestion(name, outputs)}"
        )
    return Output(name, outputs[name])


def format_outputs(outputs: Mapping[str, NDArray[Any]]) -> str:
    """Format the names and shapes of a model's outputs."""
    return ", ".join(f"{name} {_shape(array.shape)}" for name, array in outputs.items()) or "none"


def expect_shape(output: Output, shape: Sequence[int | str], hint: str) -> None:
    """Check the number of axes and their lengths; a text in ``shape`` is an axis of any length."""
    got = output.array.shape
    if len(got) != len(shape) or any(
        isinstance(expected, int) and expected != length
        for expected, length in zip(shape, got, strict=False)
    ):
        raise TensorError(
            f"output {output.name!r}: expected shape {_shape(shape)}, got {_shape(got)}; {hint}"
        )


def expect_classes(output: Output, count: int, labels: Sequence[str], hint: str = "") -> None:
    """Check the number of classes against the labels, where the model has labels."""
    if count < 1 or (labels and count != len(labels)):
        also = f", or {hint}" if hint else ""
        expected = f"{len(labels)} classes, one for each label" if labels else "at least one class"
        raise TensorError(
            f"output {output.name!r} {_shape(output.array.shape)}: expected {expected}, got "
            f"{count}; correct labels in model.yaml{also}"
        )


def expect_listed_classes(
    output: Output,
    ids: NDArray[Any],
    scores: NDArray[np.float32],
    labels: Sequence[str],
    *,
    background: bool,
) -> NDArray[np.int32]:
    """Return label numbers ``(N,)`` for the class numbers and scores ``(N,)`` of a list of boxes.

    With ``background`` the model's class 0 has no label, so class 1 is the first label. Raises
    TensorError where the numbers show that this is not so: a box of class 0, a class after the
    last label while class 0 is unused, or a first label that is the background. Boxes with a
    score below any confidence tell this, too, except for those that only fill the list.
    """
    class_ids = _to_whole_numbers(output, ids)
    numbers = class_ids[scores >= PROBABILITY_TOLERANCE]
    if background:
        expect_no_background_label(output, labels, "or set background to false")
    if (numbers == 0).any() and (background or _starts_with_background(labels)):
        hint = "set background to false" if background else "remove the label of the background"
        raise TensorError(
            f"output {output.name!r}: expected no box of class 0, the background, got "
            f"{np.count_nonzero(numbers == 0)} of {len(numbers)}; if class 0 is an object, "
            f"{hint} in model.yaml"
        )
    last = len(labels) - (0 if background else 1)
    wrong = numbers < 0
    if labels:
        wrong |= numbers > last
    if wrong.any():
        is_next = not background and numbers.max() == last + 1 and numbers.min() > 0
        raise TensorError(
            f"output {output.name!r}: expected class numbers {int(background)} to "
            f"{last if labels else '…'}, got {numbers[wrong][0]}; "
            f"{_FROM_ONE_HINT if is_next else _CLASSES_HINT}"
        )
    return np.asarray(class_ids - int(background), dtype=np.int32)


def expect_no_background_label(output: Output, labels: Sequence[str], hint: str) -> None:
    """Check that the first label is an object. ``hint`` is an advice besides its removal."""
    if _starts_with_background(labels):
        raise TensorError(
            f"output {output.name!r}: expected an object as the first label, got "
            f"{labels[0]!r}; remove it from labels, {hint} in model.yaml"
        )


def _starts_with_background(labels: Sequence[str]) -> bool:
    return bool(labels) and labels[0].strip("_ ").lower() in _BACKGROUND_LABELS


def _to_whole_numbers(output: Output, ids: NDArray[Any]) -> NDArray[np.int32]:
    if np.issubdtype(ids.dtype, np.floating):
        expect_finite(output.name, ids)
    with np.errstate(invalid="ignore"):
        whole = ids.astype(np.int32)
    if (whole != ids).any():
        raise TensorError(
            f"output {output.name!r}: expected whole class numbers, got "
            f"{ids[whole != ids][0]:.4g}; {_COLUMNS_HINT}"
        )
    return whole


def to_floats(output: Output) -> NDArray[np.float32]:
    """Return the values as float32 after a check that all are finite floats."""
    values = to_unchecked_floats(output)
    expect_finite(output.name, values)
    return values


def to_unchecked_floats(output: Output) -> NDArray[np.float32]:
    """Return the values as float32 after a check of their type. They may be NaN or infinite."""
    if not np.issubdtype(output.array.dtype, np.floating):
        raise TensorError(
            f"output {output.name!r}: expected floating point values, got "
            f"{output.array.dtype}; name another tensor in the decoder's settings in model.yaml"
        )
    with np.errstate(over="ignore"):  # a double may become infinite
        return np.asarray(output.array, dtype=np.float32)


def expect_finite(name: str, values: NDArray[np.floating[Any]]) -> None:
    """Check that no value is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = values.sum()
    # One bad value makes the sum not finite, so the sum checks all values in one fast pass.
    if np.isfinite(total):
        return
    wrong = ~np.isfinite(values)
    if wrong.any():
        place = np.argwhere(wrong)[0].tolist()
        raise TensorError(
            f"output {name!r}: expected finite values, got {wrong.sum()} of {values.size} "
            f"that are not, first {values[tuple(place)]} at {place}; "
            "check mean and std in model.yaml, or run with precision fp32"
        )


def to_probabilities(
    name: str, scores: NDArray[np.float32], hint: str = _ACTIVATION_HINT
) -> NDArray[np.float32]:
    """Return scores clipped to 0..1 after a check that they are not logits."""
    expect_probabilities(name, scores, hint)
    return np.clip(scores, 0, 1)


def expect_probabilities(name: str, scores: NDArray[np.float32], hint: str) -> None:
    """Check that scores are from 0 to 1, but for rounding."""
    if scores.size:
        low, high = float(scores.min()), float(scores.max())
        if low < -PROBABILITY_TOLERANCE or high > 1 + PROBABILITY_TOLERANCE:
            raise TensorError(
                f"output {name!r}: expected scores from 0 to 1, got {low:.4g} to {high:.4g}; {hint}"
            )


def best_probabilities(
    output: Output, scores: NDArray[np.float32], hint: str
) -> NDArray[np.float32]:
    """Return the highest of the scores ``(C, N)`` of each box; they are a part of ``output``.

    All scores must be finite, and from 0 to 1 but for rounding. Both checks take one pass here.
    """
    best: NDArray[np.float32] = scores.max(axis=0)
    low, high = scores.min(initial=0), best.max(initial=0)
    if not -PROBABILITY_TOLERANCE <= low <= high <= 1 + PROBABILITY_TOLERANCE:  # or one is NaN
        to_floats(output)
        expect_probabilities(output.name, scores, hint)
    return best


def to_plane(output: Output, hint: str) -> NDArray[np.float32]:
    """Return the ``(h, w)`` of ``[1, h, w]``, ``[1, 1, h, w]`` or ``[1, h, w, 1]``.

    ``hint`` ends the error for another shape. Also raises the errors of :func:`to_floats`.
    """
    shape = output.array.shape
    plane = output.array
    if len(shape) == 4 and shape[1] == 1:
        plane = plane[:, 0]
    elif len(shape) == 4 and shape[3] == 1:
        plane = plane[..., 0]
    if plane.ndim != 3 or plane.shape[0] != 1 or not plane.size:
        raise TensorError(
            f"output {output.name!r}: expected shape [1, h, w], [1, 1, h, w] or [1, h, w, 1], "
            f"got {list(shape)}; {hint}"
        )
    return np.asarray(to_floats(Output(output.name, plane))[0])


def _shape(shape: Sequence[int | str]) -> str:
    return "[" + ", ".join(str(length) for length in shape) + "]"

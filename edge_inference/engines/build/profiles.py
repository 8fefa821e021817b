"""Optimization profiles: the input sizes that an engine accepts, for inputs with dynamic axes.

The text of a profile is ``NAME:MIN,OPT,MAX``, as in
``image:1x3x224x224,4x3x224x224,8x3x224x224``. A single size stands for all three. For an
input that holds a shape, the numbers are its values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from edge_inference.core.settings import suggestion
from edge_inference.errors import BackendError, ConfigError

Size = tuple[int, ...]
#: The values of inputs that never change, by name.
FixedInputs = Mapping[str, NDArray[Any]]
NO_FIXED_INPUTS: FixedInputs = MappingProxyType({})

_SIZE = re.compile(r"-?\d+(x-?\d+)*")
_EXAMPLE = "image:1x3x224x224,4x3x224x224,8x3x224x224"
_DYNAMIC = -1
#: An input with fewer axes is no image, and may have the same value in every inference.
_IMAGE_AXES = 3
_OR_A_VALUE = ", or, if it never changes, its value in extra_inputs of model.yaml"


@dataclass(frozen=True)
class Profile:
    """The minimum, optimum and maximum size of one input, or its values if it holds a shape."""

    name: str
    minimum: Size
    optimum: Size
    maximum: Size

    @property
    def sizes(self) -> tuple[Size, Size, Size]:
        """The minimum, optimum and maximum size."""
        return self.minimum, self.optimum, self.maximum

    def __str__(self) -> str:
        """Return the text that ``parse_profile`` reads."""
        return f"{self.name}:{','.join('x'.join(map(str, size)) for size in self.sizes)}"


@dataclass(frozen=True)
class DeclaredInput:
    """An input as the ONNX declares it, with -1 for a dynamic axis.

    ``axis_names`` are the names of the axes in the ONNX, empty for an axis without a name.
    ``is_shape_tensor`` is True where the input's values are the shape of another tensor.
    """

    name: str
    shape: Size
    axis_names: tuple[str, ...]
    is_shape_tensor: bool = False


def parse_profile(text: str) -> Profile:
    """Parse ``NAME:MIN,OPT,MAX``. Raises ConfigError."""
    name, colon, numbers = text.rpartition(":")
    parts = numbers.split(",")
    if not colon or not name or len(parts) not in (1, 3):
        raise ConfigError(
            f"profile {text!r}: expected NAME:MIN,OPT,MAX or NAME:SIZE, as in {_EXAMPLE}"
        )
    sizes = [_parse_size(text, part.strip()) for part in parts]
    minimum, optimum, maximum = sizes * 3 if len(sizes) == 1 else sizes
    profile = Profile(name.strip(), minimum, optimum, maximum)
    if len({len(size) for size in profile.sizes}) != 1:
        raise ConfigError(f"profile {text!r}: expected the same number of axes in all three sizes")
    axis = _unordered_axis(profile)
    if axis is not None:
        raise ConfigError(
            f"profile {text!r}: expected min <= opt <= max, got "
            f"{minimum[axis]}, {optimum[axis]}, {maximum[axis]} on axis {axis}"
        )
    return profile


def parse_batch(text: str) -> Size:
    """Parse ``1:4:8`` or ``4`` into three sizes. Raises ConfigError."""
    try:
        numbers = tuple(int(part) for part in text.split(":"))
    except ValueError:
        numbers = ()
    problem = check_batch(numbers) if numbers else "expected MIN:OPT:MAX as in 1:4:8"
    if problem:
        raise ConfigError(f"batch {text!r}: {problem}")
    return numbers * 3 if len(numbers) == 1 else numbers


def check_batch(numbers: Sequence[int]) -> str | None:
    """Return what is wrong with a batch of three sizes, or one size for all; None if valid."""
    if len(numbers) not in (0, 1, 3):
        return f"expected minimum, optimum and maximum, or one number, got {len(numbers)} numbers"
    if any(number < 1 for number in numbers):
        return f"expected at least 1, got {min(numbers)}"
    if list(numbers) != sorted(numbers):
        return f"expected min <= opt <= max, got {', '.join(map(str, numbers))}"
    return None


def resolve_profiles(
    inputs: Sequence[DeclaredInput],
    given: Sequence[Profile],
    batch: Sequence[int],
    fixed: FixedInputs = NO_FIXED_INPUTS,
) -> dict[str, Profile]:
    """Return the profile of every input that needs one.

    ``batch`` applies to inputs whose only dynamic axis is the first. An input with a value in
    ``fixed`` has that value's size only, or that value if it holds a shape. Raises BackendError
    where an input needs a profile and has none, or has one that contradicts the ONNX.
    """
    named = {profile.name: profile for profile in given}
    known = {declared.name: declared for declared in inputs}
    for name in named:
        if name not in known:
            raise BackendError(f"profile for {name!r}: no such input{suggestion(name, known)}")
    found: dict[str, Profile] = {}
    used_batch = False
    for declared in inputs:
        if declared.name in named:
            found[declared.name] = _check_profile(declared, named[declared.name])
        elif declared.name in fixed:
            profile = _fixed_profile(declared, fixed[declared.name])
            if declared.is_shape_tensor or _DYNAMIC in declared.shape:
                found[declared.name] = profile
        elif declared.is_shape_tensor:
            raise BackendError(_needs_values(declared))
        elif _DYNAMIC in declared.shape:
            found[declared.name] = _from_batch(declared, batch)
            used_batch = True
    if batch and not used_batch:
        free = [declared for declared in inputs if declared.name not in fixed]
        _require_fixed_batch(free, named, batch)
    return found


def _from_batch(declared: DeclaredInput, batch: Sequence[int]) -> Profile:
    dynamic = [axis for axis, size in enumerate(declared.shape) if size == _DYNAMIC]
    if dynamic == [0] and batch:
        minimum, optimum, maximum = (batch[0],) * 3 if len(batch) == 1 else batch
        rest = declared.shape[1:]
        return Profile(declared.name, (minimum, *rest), (optimum, *rest), (maximum, *rest))
    axis = dynamic[0] if not batch or dynamic[0] != 0 else dynamic[1]
    hint = "a range with batch (--batch 1:4:8), or " if dynamic == [0] else ""
    is_image = len(declared.shape) >= _IMAGE_AXES
    raise BackendError(
        f"input {declared.name!r}: axis {_axis_text(declared, axis)} is dynamic and has "
        f"no sizes; give {hint}a profile (--profile {_example_profile(declared)}), on the command "
        f"line or in the section engine of model.yaml{'' if is_image else _OR_A_VALUE}"
    )


def _fixed_profile(declared: DeclaredInput, value: NDArray[Any]) -> Profile:
    size = tuple(map(int, value.ravel())) if declared.is_shape_tensor else value.shape
    return _check_profile(declared, Profile(declared.name, size, size, size))


def _check_profile(declared: DeclaredInput, profile: Profile) -> Profile:
    if declared.is_shape_tensor:
        count = declared.shape[0] if declared.shape else 1
        if count not in (_DYNAMIC, len(profile.optimum)):
            raise BackendError(
                f"profile for {declared.name!r}: the input holds {count} values, got "
                f"{len(profile.optimum)}; {_needs_values(declared)}"
            )
        return profile
    if len(profile.optimum) != len(declared.shape):
        raise BackendError(
            f"profile for {declared.name!r}: the ONNX has {len(declared.shape)} axes "
            f"{_shape_text(declared.shape)}, got {_shape_text(profile.optimum)}"
        )
    for axis, size in enumerate(declared.shape):
        three = [sizes[axis] for sizes in profile.sizes]
        if size != _DYNAMIC and set(three) != {size}:
            raise BackendError(
                f"profile for {declared.name!r}: axis {_axis_text(declared, axis)} is fixed at "
                f"{size} in the ONNX, got {', '.join(map(str, three))}; export the model with "
                "that axis dynamic, or correct the profile"
            )
        if min(three) < 1:
            raise BackendError(
                f"profile for {declared.name!r}: expected sizes of at least 1, got {min(three)} "
                f"on axis {axis}"
            )
    return profile


def _require_fixed_batch(
    inputs: Sequence[DeclaredInput], named: Mapping[str, Profile], batch: Sequence[int]
) -> None:
    for declared in inputs:
        fixed = declared.shape[0] if declared.shape else 1
        if declared.name not in named and set(batch) != {fixed}:
            raise BackendError(
                f"batch {':'.join(map(str, batch))}: input {declared.name!r} is fixed at {fixed} "
                f"on its first axis {_shape_text(declared.shape)}; export the model with a "
                "dynamic batch, or leave batch out"
            )


def _needs_values(declared: DeclaredInput) -> str:
    count = max(declared.shape[0], 1) if declared.shape else 1
    example = ",".join("x".join([number] * count) for number in ("1", "2", "4"))
    return (
        f"input {declared.name!r} holds the shape of another tensor; give its minimum, optimum "
        f"and maximum values as a profile (--profile {declared.name}:{example}){_OR_A_VALUE}"
    )


def _example_profile(declared: DeclaredInput) -> str:
    sizes = []
    for number in (1, 4, 8):
        sizes.append("x".join(str(number if n == _DYNAMIC else n) for n in declared.shape))
    return f"{declared.name}:{','.join(sizes)}"


def _axis_text(declared: DeclaredInput, axis: int) -> str:
    name = declared.axis_names[axis] if axis < len(declared.axis_names) else ""
    return f"{axis} ({name})" if name else str(axis)


def _shape_text(shape: Size) -> str:
    return "x".join("?" if size == _DYNAMIC else str(size) for size in shape) or "scalar"


def _parse_size(text: str, part: str) -> Size:
    if not _SIZE.fullmatch(part):
        raise ConfigError(
            f"profile {text!r}: expected numbers separated by x, got {part!r}; "
            f"an example: {_EXAMPLE}"
        )
    return tuple(int(number) for number in part.split("x"))


def _unordered_axis(profile: Profile) -> int | None:
    for axis, three in enumerate(zip(*profile.sizes, strict=True)):
        if list(three) != sorted(three):
            return axis
    return None

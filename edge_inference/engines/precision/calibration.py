"""A calibration file: the value ranges of a network's tensors on real images.

One calibration serves the int8 models of all targets. The file names its network and its
input, so that a calibration of another network or input is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_inference.core.bounded_file import parse_json, read_text
from edge_inference.engines.precision.onnx_file import write_atomically
from edge_inference.engines.precision.ranges import METHODS, Range
from edge_inference.errors import ModelError

_FORMAT = 1
_MAX_FILE_BYTES = 8 << 20
_DIGITS = 6
_TEXTS = ("method", "images", "images_sha256", "onnx_sha256")


@dataclass(frozen=True)
class Calibration:
    """Ranges by tensor name.

    ``masked`` are the tensors without a range, since some of their values only mark places.
    ``images`` describes the calibration images, ``images_sha256`` is the digest of the
    ``image_count`` input tensors. ``input`` is their preprocessing (the fields of InputSpec),
    empty where unknown.
    """

    ranges: Mapping[str, Range]
    method: str
    images: str
    image_count: int
    images_sha256: str
    onnx_sha256: str
    input: Mapping[str, Any] = field(default_factory=dict)
    masked: tuple[str, ...] = ()

    def check_fits(self, onnx_sha256: str, where: str) -> None:
        """Raise ModelError where the ranges belong to another network."""
        if self.onnx_sha256 != onnx_sha256:
            raise ModelError(
                f"{where}: its calibration belongs to another ONNX file (sha256 "
                f"{self.onnx_sha256[:12]}…, this one has {onnx_sha256[:12]}…); calibrate again"
            )

    def to_json(self) -> str:
        """Return the text of the file; six digits are far finer than a step of int8."""
        head = {
            "format": _FORMAT,
            "method": self.method,
            "images": self.images,
            "image_count": self.image_count,
            "images_sha256": self.images_sha256,
            "onnx_sha256": self.onnx_sha256,
            "input": dict(self.input),
        }
        if self.masked:
            head["masked"] = list(self.masked)
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
        entries = [
            f"    {json.dumps(name)}: [{low:.{_DIGITS}g}, {high:.{_DIGITS}g}]"
            for name, (low, high) in self.ranges.items()
        ]
        return "\n".join(["{", *lines, '  "ranges": {', ",\n".join(entries), "  }", "}", ""])

    @classmethod
    def from_json(cls, text: str, where: str = "calibration") -> Calibration:
        """Read the text of ``to_json``. Raises ModelError that begins with ``where``."""
        try:
            content = parse_json(text)
        except ValueError as error:
            raise ModelError(f"{where}: not a calibration file ({error}); {_HINT}") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise ModelError(f"{where}: expected format {_FORMAT}, got {found!r}; {_HINT}")
        for key in _TEXTS:
            if not isinstance(content.get(key), str):
                raise ModelError(f"{where}: {key}: expected a text, got {content.get(key)!r}")
        if content["method"] not in METHODS:
            raise ModelError(
                f"{where}: method: expected one of {', '.join(METHODS)}, got {content['method']!r}"
            )
        count = content.get("image_count")
        if type(count) is not int or count < 1:
            raise ModelError(f"{where}: image_count: expected at least 1, got {count!r}")
        preprocessing = content.get("input", {})
        if not isinstance(preprocessing, dict):
            raise ModelError(f"{where}: input: expected settings by name, got {preprocessing!r}")
        masked = content.get("masked", [])
        if not isinstance(masked, list) or not all(isinstance(name, str) for name in masked):
            raise ModelError(
                f"{where}: masked: expected tensor names, got {masked!r:.100}; {_HINT}"
            )
        return cls(
            masked=tuple(masked),
            ranges=_ranges(content.get("ranges"), where),
            image_count=count,
            input=preprocessing,
            **{key: content[key] for key in _TEXTS},
        )

    def save(self, file: Path) -> None:
        """Write the file atomically. Raises ModelError."""
        write_atomically(file, self.to_json().encode())

    @classmethod
    def load(cls, file: Path) -> Calibration:
        """Read a file. Raises ModelError."""
        try:
            text = read_text(file, _MAX_FILE_BYTES)
        except OSError as error:
            raise ModelError(f"{file}: cannot be read ({error.strerror}); {_HINT}") from error
        return cls.from_json(text, str(file))


_HINT = "restore the original file, or calibrate again"


def _ranges(content: Any, where: str) -> dict[str, Range]:
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{where}: ranges: expected low and high by tensor, got {content!r:.100}")
    for name, pair in content.items():
        numbers = isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))
        if not numbers or not pair[0] <= 0 <= pair[1]:
            raise ModelError(
                f"{where}: ranges.{name}: expected [low, high] around 0, got {pair!r:.100}; {_HINT}"
            )
    return {name: (float(low), float(high)) for name, (low, high) in content.items()}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)

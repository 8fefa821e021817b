"""The ranges that a network's tensors span on real images, kept in a small file.

One set of ranges gives the int8 derived model of every target. The file says what it
was taken on, so that ranges of another network or another input are refused.
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
_LARGEST_FILE = 8 << 20
_DIGITS = 6
_TEXTS = ("method", "images", "images_sha256", "onnx_sha256")


@dataclass(frozen=True)
class Calibration:
    """Ranges by tensor name.

    ``images`` says in words what they were taken on, ``images_sha256`` is the
    digest of the ``image_count`` tensors that the network saw. ``input`` is how
    they were made from images (the fields of InputSpec), empty where unknown.
    """

    ranges: Mapping[str, Range]
    method: str
    images: str
    image_count: int
    images_sha256: str
    onnx_sha256: str
    input: Mapping[str, Any] = field(default_factory=dict)

    def check_fits(self, onnx_sha256: str, where: str) -> None:
        """Raise ModelError where the ranges were taken on another network."""
        if self.onnx_sha256 != onnx_sha256:
            raise ModelError(
                f"{where}: its calibration was taken on another ONNX file (sha256 "
                f"{self.onnx_sha256[:12]}…, this one has {onnx_sha256[:12]}…); calibrate again"
            )

    def to_json(self) -> str:
        """Return the file's text; ranges have six digits, far finer than a step of int8."""
        head = {
            "format": _FORMAT,
            "method": self.method,
            "images": self.images,
            "image_count": self.image_count,
            "images_sha256": self.images_sha256,
            "onnx_sha256": self.onnx_sha256,
            "input": dict(self.input),
        }
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
        entries = [
            f"    {json.dumps(name)}: [{low:.{_DIGITS}g}, {high:.{_DIGITS}g}]"
            for name, (low, high) in self.ranges.items()
        ]
        return "\n".join(["{", *lines, '  "ranges": {', ",\n".join(entries), "  }", "}", ""])

    @classmethod
    def from_json(cls, text: str, where: str = "calibration") -> Calibration:
        """Read what ``to_json`` wrote. Raises ModelError that begins with ``where``."""
        try:
            content = parse_json(text)
        except ValueError as error:
            raise ModelError(f"{where}: not a calibration file ({error}); {_AGAIN}") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise ModelError(f"{where}: expected format {_FORMAT}, got {found!r}; {_AGAIN}")
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
        made = content.get("input", {})
        if not isinstance(made, dict):
            raise ModelError(f"{where}: input: expected settings by name, got {made!r}")
        return cls(
            ranges=_ranges(content.get("ranges"), where),
            image_count=count,
            input=made,
            **{key: content[key] for key in _TEXTS},
        )

    def save(self, file: Path) -> None:
        """Write the file whole or not at all. Raises ModelError."""
        write_atomically(file, self.to_json().encode())

    @classmethod
    def load(cls, file: Path) -> Calibration:
        """Read a file. Raises ModelError."""
        try:
            text = read_text(file, _LARGEST_FILE)
        except OSError as error:
            raise ModelError(f"{file}: cannot be read ({error.strerror}); {_AGAIN}") from error
        return cls.from_json(text, str(file))


_AGAIN = "put the original back, or calibrate again"


def _ranges(content: Any, where: str) -> dict[str, Range]:
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{where}: ranges: expected low and high by tensor, got {content!r:.100}")
    for name, pair in content.items():
        numbers = isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))
        if not numbers or not pair[0] <= 0 <= pair[1]:
            raise ModelError(
                f"{where}: ranges.{name}: expected [low, high] around 0, got "
                f"{pair!r:.100}; {_AGAIN}"
            )
    return {name: (float(low), float(high)) for name, (low, high) in content.items()}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)

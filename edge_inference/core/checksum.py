"""The checksum of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file

_PIECE = 1 << 20


def sha256_of(file: Path, at_most: int = MAX_WEIGHTS_BYTES) -> str:
    """Return 64 hexadecimal digits, read piece by piece. Raises OSError, as ``open_regular_file`` does."""
    digest = hashlib.sha256()
    with open_regular_file(file, at_most) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()

"""Checksums of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_inference.core.bounded_file import MAX_WEIGHTS_BYTES, open_regular_file

_CHUNK_BYTES = 1 << 20


def sha256_of(file: Path, max_bytes: int = MAX_WEIGHTS_BYTES) -> str:
    """Return the sha256 in hexadecimal. Raises OSError, as ``open_regular_file`` does."""
    digest = hashlib.sha256()
    with open_regular_file(file, max_bytes) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

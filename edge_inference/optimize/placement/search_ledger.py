"""The finished measurements of a search, so that a search that was killed goes on.

There is one file for each model, calibration, set of images, floors, backend and machine; a
change of one of them begins a new search.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from edge_inference.core.bounded_file import parse_json, read_text
from edge_inference.core.disk import describe_write_error
from edge_inference.core.images.preprocess import Preprocessor
from edge_inference.core.models.model import ModelDescription
from edge_inference.engines.cache.artifact_cache import key_of
from edge_inference.engines.cache.artifacts import Cancelled
from edge_inference.engines.cache.cache_folder import CACHE_VARIABLE
from edge_inference.engines.cache.cache_lock import exclusive_lock, try_exclusive_lock
from edge_inference.engines.cache.environment import machine_facts, machine_identity
from edge_inference.engines.precision.derivation import calibration_digest, derivation_rules
from edge_inference.engines.precision.onnx_file import write_atomically
from edge_inference.errors import CacheError, ModelError
from edge_inference.optimize.placement.placement_request import PlacementRequest
from edge_inference.optimize.placement.precision_candidate import (
    CandidateResult,
    PrecisionCandidate,
    read_result,
)

#: Folder inside the cache folder.
SEARCHES_FOLDER = "precision_searches"
_LOCKS, _ENGINES = ".locks", ".engines"
_FORMAT = 1
_MAX_FILE_BYTES = 16 << 20
#: The oldest ledgers are removed beyond this number.
_MAX_LEDGERS = 64


class SearchLedger:
    """One file of results; each new one is written at once. Use it inside ``opened``."""

    def __init__(self, cache: Path, parts: Mapping[str, Any]) -> None:
        """``parts`` is everything that changes a result."""
        self._digits = key_of(parts)[:16]
        self._folder = Path(cache) / SEARCHES_FOLDER
        self._locks = Path(cache) / _LOCKS
        self._file = self._folder / f"{self._digits}.json"
        self._parts = dict(parts)
        self._entries: dict[str, Any] = {}
        self.reused = 0

    @contextmanager
    def opened(self, cancelled: Cancelled) -> Iterator[Path]:
        """Keep other processes out of this search, and yield a folder for its engines.

        The folder is removed at the end, as are those of other searches that were killed. A
        damaged file of results counts as empty. Raises CacheError if the cache cannot be written
        or ``cancelled`` returns True while another process searches.
        """
        engines = self._folder / f"{self._digits}{_ENGINES}"
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"{self._folder}: {describe_write_error(error)}; {_HINT}") from error
        with exclusive_lock(self._lock(self._digits), cancelled):
            self._entries = self._read()
            try:
                yield engines
            finally:
                shutil.rmtree(engines, ignore_errors=True)
        self._trim()

    def _lock(self, digits: str) -> Path:
        return self._locks / f"precisions-{digits}"

    @property
    def count(self) -> int:
        """The number of known results."""
        return len(self._entries)

    def find(self, candidate: PrecisionCandidate, images: int) -> CandidateResult | None:
        """Return the result of a candidate on that many images, None if there is none."""
        content = self._entries.get(_key(candidate, images))
        try:
            result = None if content is None else read_result(candidate, content)
        except (KeyError, TypeError, ValueError):  # damaged; it is measured again
            return None
        self.reused += result is not None
        return result

    def add(self, result: CandidateResult) -> None:
        """Keep a result. Raises CacheError if it cannot be written."""
        self._entries[_key(result.candidate, result.images)] = result.to_json()
        content = {"format": _FORMAT, "search": self._parts, "results": self._entries}
        try:
            write_atomically(self._file, (json.dumps(content, indent=1) + "\n").encode())
        except ModelError as error:
            raise CacheError(f"{error}; {_HINT}") from error

    def _trim(self) -> None:
        """Remove the oldest ledgers if there are many, and the engines of killed searches."""
        with suppress(OSError):  # another process removes them, too
            files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
            for file in files[:-_MAX_LEDGERS]:
                file.unlink(missing_ok=True)
        for folder in self._folder.glob(f"*{_ENGINES}"):
            with try_exclusive_lock(self._lock(folder.name.removesuffix(_ENGINES))) as is_held:
                if is_held:
                    shutil.rmtree(folder, ignore_errors=True)

    def _read(self) -> dict[str, Any]:
        try:
            content = parse_json(read_text(self._file, _MAX_FILE_BYTES))
        except (OSError, ValueError):  # no search yet, or a damaged file
            return {}
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            return {}
        results = content.get("results")
        return results if isinstance(results, dict) else {}


def search_parts(request: PlacementRequest, model: ModelDescription) -> dict[str, Any]:
    """Return everything that changes a result of a search. Raises what reading an image raises."""
    preprocess = Preprocessor(model.input)
    digest = hashlib.sha256()
    for image in request.images:
        digest.update(np.ascontiguousarray(preprocess(image)[0]).tobytes())
    machine = dict(machine_identity())
    if request.backend != "ort":
        machine["gpu"] = machine_facts().get("gpu", "")
    return {
        "onnx": model.variants["fp32"].digest,
        "calibration": calibration_digest(model, "int8"),
        "images": digest.hexdigest(),
        "backend": request.backend,
        "min_agreement": request.min_agreement,
        "min_sqnr_db": request.min_sqnr_db,
        "cosine": model.self_check.cosine,
        "decoder": repr((model.decoder, model.decoder_settings)),
        "rules": derivation_rules(),
        "machine": machine,
    }


_HINT = f"the search cannot be continued without it; set ${CACHE_VARIABLE} to another folder"


def _key(candidate: PrecisionCandidate, images: int) -> str:
    return f"{key_of({'candidate': candidate.key})[:32]} on {images} images"

"""What makes the figures of two benchmarks comparable: machine, libraries, settings, data."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import edge_inference
from edge_inference.core.bounded_file import ANY_SIZE
from edge_inference.core.checksum import sha256_of
from edge_inference.core.images.media import IMAGE_SUFFIXES, sample_video
from edge_inference.engines.cache.environment import machine_facts
from edge_inference.errors import SourceError
from edge_inference.observe.benchmark.benchmark_report import BenchmarkReport
from edge_inference.observe.doctor.finding import FindingLevel

#: What a comparison is about may differ: the version of this package.
SUBJECT = "edge_inference"
#: Findings of the preflight that belong to the environment, by area and name.
_SETTINGS = (
    ("cpu", "governor"),
    ("cpu", "frequency limit"),
    ("cpu", "cores"),
    ("cpu", "quota"),
    ("power", "power mode"),
    ("machine", "gpu"),
    ("machine", "kind"),
)
_UNKNOWN = "unknown"


def describe_environment(
    findings: Iterable[Mapping[str, Any]],
    facts: Callable[[], Mapping[str, str]] = machine_facts,
) -> dict[str, str]:
    """Return the facts of this machine, with the settings that the preflight found."""
    values = {
        (each["area"], each["name"]): str(each["value"])
        for each in findings
        if each["level"] != FindingLevel.UNKNOWN.value
    }
    settings = {" ".join(key): values[key] for key in _SETTINGS if key in values}
    return {**facts(), **settings, SUBJECT: edge_inference.__version__}


def hash_source(source: str) -> str:
    """Return the sha256 of a video, an image, a folder of images or ``sample``.

    For anything else, such as a camera, it says that there is none. Raises SourceError.
    """
    path = sample_video() if source == "sample" else Path(source).expanduser()
    try:
        if path.is_file():
            return sha256_of(path, ANY_SIZE)
        if path.is_dir():
            digest = hashlib.sha256()
            for file in sorted(path.iterdir()):
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    digest.update(f"{file.name} {sha256_of(file, ANY_SIZE)}\n".encode())
            return digest.hexdigest()
    except OSError as error:
        raise SourceError(f"{source}: cannot be read: {error.strerror or error}") from error
    return "none: a live source"


def hash_images(images: Sequence[NDArray[Any]]) -> str:
    """Return the sha256 of the pixels of some images."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.dtype} {image.shape} ".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()


def find_differences(a: BenchmarkReport, b: BenchmarkReport) -> list[str]:
    """Return what keeps the figures of two reports from being compared, one text each."""
    pairs = {
        "level": (a.level, b.level),
        "model": (a.model, b.model),
        "batch": (str(a.batch), str(b.batch)),
    }
    for name in sorted({*a.environment, *b.environment} - {SUBJECT}):
        pairs[name] = a.environment.get(name, _UNKNOWN), b.environment.get(name, _UNKNOWN)
    for candidate in [each for each in a.candidates if each in b.candidates]:
        one, two = a.candidates[candidate], b.candidates[candidate]
        for name in sorted({*one, *two}):
            pairs[f"{candidate}: {name}"] = one.get(name, _UNKNOWN), two.get(name, _UNKNOWN)
    return [f"{name}: {one} against {two}" for name, (one, two) in pairs.items() if one != two]

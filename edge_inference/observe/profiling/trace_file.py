"""Writes a trace: as JSON, compressed JSON, or a page that draws it without a network."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from edge_inference.core.disk import check_output_file, describe_write_error
from edge_inference.errors import ConfigError
from edge_inference.observe.profiling.trace_events import TraceEvents

SUFFIXES = (".json", ".json.gz", ".html")
_PAGE = "trace_page.html"
_PLACE = "/* the trace */ null"


def check_trace_file(file: Path, option: str) -> None:
    """Raise ConfigError if a trace could not be written later; ``option`` names the file."""
    if not file.name.endswith(SUFFIXES):
        raise ConfigError(
            f"{option} {file}: expected a name that ends in {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}"
        )
    check_output_file(file, option)


def write_trace(events: TraceEvents, file: Path, option: str) -> None:
    """Write a trace in the format of the file's suffix. Raises ConfigError."""
    text = json.dumps(events.as_json(), separators=(",", ":"), allow_nan=False)
    try:
        if file.name.endswith(".gz"):
            with gzip.open(file, "wt", encoding="utf-8") as stream:
                stream.write(text)
        elif file.name.endswith(".html"):
            page = Path(__file__).with_name(_PAGE).read_text(encoding="utf-8")
            # Inside of a script element, "</" could end it.
            file.write_text(page.replace(_PLACE, text.replace("<", "\\u003c"), 1), encoding="utf-8")
        else:
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{option} {file}: cannot be written ({describe_write_error(error)})"
        ) from error

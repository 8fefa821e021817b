"""``edge-inference engine list`` and ``clean``: lists and cleans the cache."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from edge_inference.cli.exit_status import print_error
from edge_inference.cli.models.engine_plans import PLAN_FILE
from edge_inference.cli.sizes import format_megabytes
from edge_inference.core.text_line import one_line
from edge_inference.engines.cache.artifact_cache import ArtifactCache, CacheEntry
from edge_inference.engines.cache.artifacts import TIMING_FOLDER, default_cache
from edge_inference.engines.cache.cost_cache import remove_costs
from edge_inference.errors import CacheError

_PIPE_WIDTH = 140
_MAX_CELL = 80
_DIGITS = 17  # a dash and the first digits of the key


def list_cache(verify: bool, as_json: bool) -> int:
    """Print the entries of the cache; return 1 if one is damaged."""
    cache = default_cache()
    rows = [(entry, _fault(entry) if verify else "") for entry in cache.entries()]
    faults = cache.faults()
    if as_json:
        for entry, fault in rows:
            sys.stdout.write(json.dumps(_as_json(entry, fault, verify)) + "\n")
    else:
        _print(cache, rows, verify)
    for fault in (*faults, *(fault for _, fault in rows if fault)):
        print_error(fault)
    return 1 if faults or any(fault for _, fault in rows) else 0


def clean_cache(
    limit_bytes: int | None, damaged_only: bool, as_json: bool, *, costs_only: bool = False
) -> int:
    """Remove damaged entries, and those beyond the limit unless ``damaged_only``.

    A limit of 0 also removes timing caches and measured costs; ``costs_only`` removes only costs.
    """
    cache = default_cache()
    if costs_only:
        return _remove_costs(cache, as_json)
    sizes = {folder.name: _folder_size(folder) for folder in _folders(cache)}
    removed = cache.clean(sys.maxsize if damaged_only else limit_bytes)
    if limit_bytes == 0:
        shutil.rmtree(cache.folder / TIMING_FOLDER, ignore_errors=True)
        remove_costs(cache.folder)
    freed = sum(sizes.get(name, 0) for name in removed)
    left = cache.entries()
    if as_json:
        content = {"cache": str(cache.folder), "removed": removed, "bytes": freed}
        sys.stdout.write(json.dumps({**content, "left": len(left)}) + "\n")
        return 0
    for name in removed:
        sys.stdout.write(f"removed {name}: {format_megabytes(sizes.get(name))}\n")
    sys.stdout.write(
        f"{cache.folder}: {len(removed)} removed ({format_megabytes(freed)}), {len(left)} left "
        f"({format_megabytes(sum(entry.size for entry in left))})\n"
    )
    return 0


def _remove_costs(cache: ArtifactCache, as_json: bool) -> int:
    removed = remove_costs(cache.folder)
    if as_json:
        sys.stdout.write(json.dumps({"cache": str(cache.folder), "costs_removed": removed}) + "\n")
    else:
        sys.stdout.write(f"{cache.folder}: measured costs removed ({removed} files)\n")
    return 0


def _print(cache: ArtifactCache, rows: list[tuple[CacheEntry, str]], verified: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from edge_inference.cli.console_table import new_console

    total = sum(entry.size for entry, _ in rows)
    count = "1 entry" if len(rows) == 1 else f"{len(rows)} entries"
    sys.stdout.write(f"{cache.folder}: {count}, {format_megabytes(total)}\n")
    if not rows:
        return
    console = new_console(sys.stdout, _PIPE_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("what", "kind", "precision", "size", "made", "used", "state"):
        table.add_column(name, justify="right" if name == "size" else "left", no_wrap=True)
    for entry, fault in rows:
        table.add_row(
            Text(_label(entry)),
            _kind(entry),
            Text(one_line(str(entry.metadata.get("precision", "")), _MAX_CELL)),
            format_megabytes(entry.size),
            _time_text(entry.created_s),
            _time_text(entry.used_s),
            _state(fault, verified),
        )
    console.print(table)


def _as_json(entry: CacheEntry, fault: str, verified: bool) -> dict[str, Any]:
    return {
        "label": _label(entry),
        "kind": _kind(entry),
        "model": entry.metadata.get("model"),
        "precision": entry.metadata.get("precision"),
        "bytes": entry.size,
        "made": _time_text(entry.created_s),
        "used": _time_text(entry.used_s),
        "state": _state(fault, verified),
        "files": [str(entry.path(name)) for name in entry.files],
    }


def _label(entry: CacheEntry) -> str:
    return entry.folder.name[:-_DIGITS]


def _kind(entry: CacheEntry) -> str:
    return "engine" if PLAN_FILE in entry.files else "derived model"


def _state(fault: str, verified: bool) -> str:
    """Return the state; without verification it is only known that no file is missing."""
    if fault:
        return "damaged"
    return "intact" if verified else "complete"


def _fault(entry: CacheEntry) -> str:
    try:
        entry.verify()
    except CacheError as error:
        return str(error)
    return ""


def _time_text(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OSError, OverflowError, ValueError):  # a file may have any timestamp
        return "?"


def _folders(cache: ArtifactCache) -> list[Path]:
    if not cache.folder.is_dir():
        return []
    return [folder for folder in cache.folder.iterdir() if folder.is_dir()]


def _folder_size(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    except OSError:  # of another user, or removed by another process
        return 0

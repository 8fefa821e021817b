"""``edge-inference platform record``: a machine's sensors into a file that can be replayed."""

from __future__ import annotations

import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_inference.cli.exit_status import UsageError, print_error
from edge_inference.cli.progress import show_progress
from edge_inference.cli.signals import catch_signals
from edge_inference.platforms.attributes import read_text
from edge_inference.platforms.recording.capture import CaptureSummary, record
from edge_inference.platforms.recording.recording import RecordingHeader, RecordingLimits
from edge_inference.platforms.system_files import HostFiles, SystemFiles

_MODEL = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_FIRMWARE = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name")


@dataclass(frozen=True)
class RecordOptions:
    """What to record. ``duration_s`` 0 is a single look."""

    output: str
    root: str = "/"
    duration_s: float = 60.0
    period_s: float = 0.5
    note: str = ""


def record_platform(order: RecordOptions, as_json: bool) -> int:
    """Record until the time is over or the user ends it; either leaves a sound recording."""
    if not Path(order.root).is_dir():
        raise UsageError(f"--root {order.root}: expected a folder")
    files = HostFiles(Path(order.root))
    header = RecordingHeader(machine_name(files), platform.release(), order.note, synthetic=False)
    start_s = time.monotonic()
    progress = show_progress(order.output, sys.stderr, as_json)
    with catch_signals() as interrupted, progress:

        def wait(seconds: float) -> bool:
            passed_s = time.monotonic() - start_s
            share = min(passed_s / order.duration_s, 1.0) if order.duration_s else None
            progress("Ctrl-C ends", share)
            return interrupted.wait(seconds)

        captured = record(
            files,
            Path(order.output),
            header,
            duration_s=order.duration_s,
            period_s=order.period_s,
            wait=wait,
            host_name=platform.node(),
        )
    _tell(order.output, header, captured, as_json)
    return 0


def machine_name(files: SystemFiles) -> str:
    """Return what the device tree, else the firmware, calls the machine; empty if neither does."""
    for path in _MODEL:
        if text := read_text(files, path):
            return text
    return " ".join(filter(None, (read_text(files, path) for path in _FIRMWARE)))


def _tell(file: str, header: RecordingHeader, captured: CaptureSummary, as_json: bool) -> None:
    if captured.is_full:
        print_error(
            f"{file}: ended after {captured.duration_s:.0f} s, as {RecordingLimits.describe()}; record "
            "the rest into another file, or look less often with --period"
        )
    size = Path(file).stat().st_size
    if as_json:
        content = {"recording": file, "board": header.board, **asdict(captured), "bytes": size}
        sys.stdout.write(json.dumps(content) + "\n")
        return
    samples = "1 look" if captured.samples == 1 else f"{captured.samples} looks"
    failing = f", {captured.failing} of them not readable" if captured.failing else ""
    sys.stdout.write(
        f"{file}: {header.board or 'a machine that does not say what it is'}, {samples} in "
        f"{captured.duration_s:.1f} s, {captured.files} files{failing}, {size / 1e3:.0f} kB\n"
        "Serial numbers, addresses and the host's name are left out; read it before you share it.\n"
    )

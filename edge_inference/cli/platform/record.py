"""``edge-inference platform record``: records a machine's sensor files for replay."""

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
from edge_inference.composition.pipeline import share_folder
from edge_inference.platforms.attributes import read_text
from edge_inference.platforms.board_files import choose_board, list_board_folders, load_boards
from edge_inference.platforms.recording.capture import CaptureSummary, record
from edge_inference.platforms.recording.recording import RecordingHeader, RecordingLimits
from edge_inference.platforms.recording.scope import make_scope
from edge_inference.platforms.sensors.probes import SENSOR_PROBES
from edge_inference.platforms.system_files import HostFiles, SystemFiles

_MODEL = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_FIRMWARE = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name")


@dataclass(frozen=True)
class RecordOptions:
    """Options of ``platform record``. A ``duration_s`` of 0 records a single sample."""

    output: str
    root: str = "/"
    duration_s: float = 60.0
    period_s: float = 0.5
    note: str = ""
    board: str = ""
    platform_path: str = ""


def record_platform(options: RecordOptions, as_json: bool) -> int:
    """Record for ``duration_s`` or until the user interrupts; both leave a valid recording."""
    if not Path(options.root).is_dir():
        raise UsageError(f"--root {options.root}: expected a folder")
    files = HostFiles(Path(options.root))
    folders = list_board_folders(options.platform_path, share_folder() / "config" / "platforms")
    board = choose_board(options.board, files, load_boards(folders))
    header = RecordingHeader(machine_name(files), platform.release(), options.note, synthetic=False)
    start_s = time.monotonic()
    progress = show_progress(options.output, sys.stderr, as_json)
    with catch_signals() as interrupted, progress:

        def wait(seconds: float) -> bool:
            passed_s = time.monotonic() - start_s
            share = min(passed_s / options.duration_s, 1.0) if options.duration_s else None
            progress("Ctrl-C stops", share)
            return interrupted.wait(seconds)

        captured = record(
            files,
            Path(options.output),
            header,
            make_scope(board),
            duration_s=options.duration_s,
            period_s=options.period_s,
            wait=wait,
            host_name=platform.node(),
        )
    for problem in SENSOR_PROBES.problems():
        print_error(f"{options.output}: without these sensors: {problem}")
    _print_result(options.output, header, captured, as_json)
    return 0


def machine_name(files: SystemFiles) -> str:
    """Return the model in the device tree, else in the firmware; empty if there is none."""
    for path in _MODEL:
        if text := read_text(files, path):
            return text
    return " ".join(filter(None, (read_text(files, path) for path in _FIRMWARE)))


def _print_result(
    file: str, header: RecordingHeader, captured: CaptureSummary, as_json: bool
) -> None:
    if captured.is_full:
        print_error(
            f"{file}: stopped after {captured.duration_s:.0f} s, because "
            f"{RecordingLimits.describe()}; record the rest into another file, or sample less "
            "often with --period"
        )
    size = Path(file).stat().st_size
    if as_json:
        content = {"recording": file, "board": header.board, **asdict(captured), "bytes": size}
        sys.stdout.write(json.dumps(content) + "\n")
        return
    samples = "1 sample" if captured.samples == 1 else f"{captured.samples} samples"
    failing = f", {captured.failing} of them not readable" if captured.failing else ""
    sys.stdout.write(
        f"{file}: {header.board or 'unknown machine'}, {samples} in "
        f"{captured.duration_s:.1f} s, {captured.files} files{failing}, {size / 1e3:.0f} kB\n"
        "Serial numbers, addresses and the host name are removed; check it before you share it.\n"
    )

"""Makes the package of test/extension_package visible to this process and its children."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from edge_inference.core import extension_table

SOURCE = Path(__file__).parent / "extension_package"
PACKAGE = "my_robot"


def make_visible(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the package with its metadata on the path, as an installation into ``folder`` would."""
    setup = ConfigParser()
    setup.read(SOURCE / "setup.cfg")
    lines = [f"[{group}]{names}" for group, names in setup["options.entry_points"].items()]
    version = setup["metadata"]["version"]
    metadata = folder / f"{PACKAGE}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n"
    )
    (metadata / "entry_points.txt").write_text("\n".join([*lines, ""]))
    (folder / PACKAGE).symlink_to(SOURCE / PACKAGE)
    monkeypatch.syspath_prepend(folder)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))


def installed(folder: Path) -> Iterator[None]:
    """Install the package while the caller is suspended; afterwards nothing of it is left."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        make_visible(folder, monkeypatch)
        extension_table.forget_installed()
        yield
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    extension_table.forget_installed()

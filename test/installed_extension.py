"""Makes packages that extend edge_inference visible to this process and its children."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_inference.core import extension_table

SOURCE = Path(__file__).parent / "extension_package"
PACKAGE = "my_robot"


def write_metadata(folder: Path, package: str, entry_points: str, version: str = "1.0") -> Path:
    """Write what pip writes for a package into the folder of its modules; return that folder."""
    metadata = folder / f"{package}-{version}.dist-info"
    metadata.mkdir()
    text = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
    (metadata / "METADATA").write_text(text)
    (metadata / "entry_points.txt").write_text(entry_points)
    return metadata


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Make the packages of a folder visible; afterwards nothing of them is left.

    Packages that are written later are visible until a table has been read.
    """
    known = set(sys.modules)
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.syspath_prepend(folder)
            paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
            monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
            extension_table.forget_installed()
            yield
    finally:
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]
        extension_table.forget_installed()


@contextmanager
def extension_package_installed(folder: Path) -> Iterator[None]:
    """Install the package of test/extension_package into an empty folder."""
    setup = ConfigParser()
    setup.read(SOURCE / "setup.cfg")
    lines = [f"[{group}]{names}" for group, names in setup["options.entry_points"].items()]
    write_metadata(folder, PACKAGE, "\n".join([*lines, ""]), setup["metadata"]["version"])
    (folder / PACKAGE).symlink_to(SOURCE / PACKAGE)
    with installed(folder):
        yield

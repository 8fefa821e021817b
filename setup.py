"""Add the data folders to the installation that setup.cfg describes."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
SHARE = Path("share/edge_inference")


def data_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Return each folder's files, with the destination that a ROS build also uses."""
    files: dict[Path, list[str]] = {}
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.is_file():
                path = file.relative_to(ROOT)
                files.setdefault(SHARE / path.parent, []).append(str(path))
    return [(str(destination), names) for destination, names in files.items()]


setup(data_files=data_files("config", "models"))

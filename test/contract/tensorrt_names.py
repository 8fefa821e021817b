"""The names in one release of TensorRT's Python bindings, read in another process."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import gpu_kit

RTX = "RTX"
RELEASES = (*gpu_kit.BINDINGS, RTX)
# Methods for subclasses are in the documentation only.
DUMP = r"""
import importlib, json, re, sys
trt = importlib.import_module(sys.argv[1])
def names(value):
    is_class = isinstance(value, type)
    return [*dir(value), *re.findall(r"def (\w+)\(", value.__doc__ or "")] if is_class else []
members = {name: names(getattr(trt, name)) for name in dir(trt)}
print(json.dumps({"version": trt.__version__, "members": members}))
"""


@dataclass(frozen=True)
class Names:
    """The names of a release: those of the module, and the members of each class."""

    version: str
    members: Mapping[str, frozenset[str]]

    def has(self, owner: str, member: str) -> bool:
        """Tell whether a class (or, for "", the module) has a member."""
        return member in (self.members.get(owner, ()) if owner else self.members)


@functools.cache
def names_of(release: str) -> Names:
    """Read a release's names; skip the test, with the reason, if the kit lacks it."""
    part = "tensorrt_rtx" if release == RTX else f"tensorrt-{release}"
    module = "tensorrt_rtx" if release == RTX else "tensorrt"
    environment = {**os.environ, "PYTHONPATH": str(gpu_kit.folder_of(part))}
    command = [sys.executable, "-c", DUMP, module]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    dump = json.loads(done.stdout)
    members = {name: frozenset(listed) for name, listed in dump["members"].items()}
    return Names(dump["version"], members)

"""A checksum of the user's own code, so that a result of other code is not taken for one of it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

from edge_inference.optimize.training.torch_model import import_module_of

#: Folders of installed packages, of which only the named one is the user's choice.
_INSTALLED = ("site-packages", "dist-packages")


def source_digest(path: str) -> str:
    """Return a sha256 over the Python file of an object and over those that it imports.

    ``path`` is ``package.module:name`` or ``file.py:name``. The weights and the ONNX file of a
    network do not show everything of its code, such as a dropout. Of imports those count that are
    found beside the file, or in its package; installed packages have versions. Code that is not
    in Python files does not count. Raises ConfigError for a name that cannot be imported.
    """
    module = import_module_of(path)
    name = getattr(module, "__file__", None)
    digest = hashlib.sha256()
    if name is None or not name.endswith(".py"):
        return digest.hexdigest()
    found = Path(name).resolve()
    names = module.__name__.split(".")
    root = found.parents[len(names) - 1 + (found.name == "__init__.py")]
    is_installed = any(name in root.parts for name in _INSTALLED)
    limit = root / names[0] if is_installed else root
    files = {found}
    todo = [found]
    while todo:
        for file in _imported_files(todo.pop(), root):
            if file not in files and file.is_relative_to(limit):
                files.add(file)
                todo.append(file)
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _imported_files(file: Path, root: Path) -> Iterator[Path]:
    """Yield the files that are imported with a file: its packages, and what it imports anywhere."""
    for folder in file.parents:
        if folder == root:
            break
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # it is not imported, or fails there with a better text
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(root, alias.name)
        elif isinstance(node, ast.ImportFrom):
            folder = file.parents[node.level - 1] if node.level else root
            for alias in node.names:
                yield from _files_of(folder, ".".join(filter(None, (node.module, alias.name))))


def _files_of(folder: Path, name: str) -> Iterator[Path]:
    """Yield the files of a dotted name: its packages, and the module."""
    for part in name.split("."):
        module, package = folder / f"{part}.py", folder / part
        if module.is_file():
            yield module
            return
        if not package.is_dir():
            return
        if (package / "__init__.py").is_file():
            yield package / "__init__.py"
        folder = package

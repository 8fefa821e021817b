"""Finds the uses of TensorRT in source code, by the names of variables.

By convention TensorRT's objects are in variables, arguments and attributes with the names below
(a leading underscore is allowed), and code reaches their members by plain attribute access. A name
that is annotated with a type of this package is not a TensorRT object.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MODULE = "trt"
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "layer": "ILayer",
    "tensor": "ITensor",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "timing_cache": "ITimingCache",
    "serialized": "IHostMemory",
}
# The result of a call, and thus the name of the variable for it.
RESULTS = {
    "Builder": "builder",
    "OnnxParser": "parser",
    "Runtime": "runtime",
    "create_network": "network",
    "create_builder_config": "config",
    "create_optimization_profile": "profile",
    "get_layer": "layer",
    "deserialize_cuda_engine": "engine",
    "create_execution_context": "context",
    "create_engine_inspector": "inspector",
    "create_timing_cache": "timing_cache",
    "get_timing_cache": "timing_cache",
    "build_serialized_network": "serialized",
}
ANY = ("Any", "object", "None")
EXITS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
# Functions that test for a member by its name.
ASKING = ("getattr", "hasattr", "enum_member")

Guards = frozenset[tuple[str, str]]


@dataclass(frozen=True, order=True)
class Use:
    """A used member: of ``trt``, of one of its classes, or of an object.

    ``owner`` is "" for the module, else the class. ``is_asked``: the member may be absent.
    """

    line: int
    owner: str
    member: str
    is_asked: bool = False

    def __str__(self) -> str:
        return f"{self.owner or MODULE}.{self.member}"


def uses_in(source: str) -> list[Use]:
    """Return the uses and capability tests of a module's source, in order."""
    tree = ast.parse(source)
    scan = _Scan(_ours(node for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)))
    scan.walk(tree, frozenset(), {})
    return sorted(set(scan.found))


def misnamed_in(source: str) -> list[str]:
    """Return results of TensorRT's calls in variables with other names."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Call):
            continue
        function = node.value.func
        wanted = RESULTS.get(function.attr) if isinstance(function, ast.Attribute) else None
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for name in filter(None, map(_last_name, targets)) if wanted else ():
            if name != wanted:
                found.append(f"line {node.lineno}: {ast.unparse(node)} is to be kept in {wanted}")
    return found


class _Scan:
    """Walks a tree with the guarded members and own names at each node."""

    def __init__(self, ours: set[str]) -> None:
        self.found: list[Use] = []
        self._ours = ours  # attributes that the module declares with its own type

    def walk(self, node: ast.AST, guards: Guards, ours: dict[str, bool]) -> None:
        """Visit a node and its children."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            ours = {**ours, **_arguments(node)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            ours[node.target.id] = _is_ours(node.annotation)
        if isinstance(node, ast.Attribute):
            self._attribute(node, guards, ours)
        if isinstance(node, ast.Call):
            self._question(node, ours)
        if isinstance(node, ast.ClassDef):
            self._overridden(node)
        for child, held in _children(node, guards):
            self.walk(child, held, ours)

    def _attribute(self, node: ast.Attribute, guards: Guards, ours: dict[str, bool]) -> None:
        owner = self._owner(node.value, ours)
        if owner is None or _is_guarded(node, guards):
            return
        self.found.append(Use(node.lineno, owner, node.attr))

    def _question(self, node: ast.Call, ours: dict[str, bool]) -> None:
        if not isinstance(node.func, ast.Name) or node.func.id not in ASKING or len(node.args) < 2:
            return
        owner, asked = self._owner(node.args[0], ours), node.args[1]
        if owner is not None and isinstance(asked, ast.Constant):
            self.found.append(Use(node.lineno, owner, str(asked.value), is_asked=True))

    def _overridden(self, node: ast.ClassDef) -> None:
        """Treat an override of a TensorRT method as optional: not all releases have it."""
        bases = (base for base in node.bases if isinstance(base, ast.Attribute))
        for owner in (base.attr for base in bases if _last_name(base.value) == MODULE):
            for method in (part for part in node.body if isinstance(part, ast.FunctionDef)):
                if not method.name.startswith("_"):
                    self.found.append(Use(method.lineno, owner, method.name, is_asked=True))

    def _owner(self, value: ast.expr, ours: dict[str, bool]) -> str | None:
        """Return the class of an expression; "" for the module."""
        name = _last_name(value)
        plain = value.id if isinstance(value, ast.Name) else None
        if name == MODULE:
            return ""
        if name in CLASSES:
            is_ours = ours.get(plain, False) if plain else getattr(value, "attr", "") in self._ours
            return None if is_ours else CLASSES[name]
        if isinstance(value, ast.Attribute) and _last_name(value.value) == MODULE:
            return value.attr
        return None


def _last_name(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id.lstrip("_")
    return node.attr.lstrip("_") if isinstance(node, ast.Attribute) else None


def _is_ours(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation).strip("\"'") not in ANY


def _ours(declarations: Iterable[ast.AnnAssign]) -> set[str]:
    """Return the names of attributes that are declared with a type of this package."""
    ours = set()
    for node in declarations:
        target = node.target
        if _is_ours(node.annotation):
            if isinstance(target, ast.Name):
                ours.add(target.id)
            elif isinstance(target, ast.Attribute):
                ours.add(target.attr)
    return ours


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> dict[str, bool]:
    listed = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return {argument.arg: _is_ours(argument.annotation) for argument in listed}


def _children(node: ast.AST, guards: Guards) -> Iterator[tuple[ast.AST, Guards]]:
    """Yield the children of a node, each with its guarded members."""
    if isinstance(node, ast.IfExp):
        yield node.test, guards
        yield node.body, guards | _present(node.test, True)
        yield node.orelse, guards | _present(node.test, False)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield value, guards
            guards |= _present(value, isinstance(node.op, ast.And))
    else:
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                yield value, guards
            elif isinstance(value, list):
                yield from _listed(node, name, value, guards)


def _listed(
    node: ast.AST, name: str, values: Sequence[object], guards: Guards
) -> Iterator[tuple[ast.AST, Guards]]:
    if isinstance(node, ast.If) and name in ("body", "orelse"):
        guards |= _present(node.test, name == "body")
    for value in values:
        if isinstance(value, ast.AST):
            yield value, guards
        if isinstance(value, ast.If) and isinstance(value.body[-1], EXITS) and not value.orelse:
            guards |= _present(value.test, False)


def _present(test: ast.expr, outcome: bool) -> Guards:
    """Return the (object, member) that exist for a result of a test."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _present(test.operand, not outcome)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) is outcome:
        return frozenset().union(*(_present(value, outcome) for value in test.values))
    if (
        outcome
        and isinstance(test, ast.Call)
        and ast.unparse(test.func) == "hasattr"
        and isinstance(test.args[1], ast.Constant)
    ):
        return frozenset({(ast.unparse(test.args[0]), str(test.args[1].value))})
    return frozenset()


def _is_guarded(node: ast.expr, guards: Guards) -> bool:
    """Tell whether a member, or its owner, was tested before."""
    while isinstance(node, ast.Attribute):
        if (ast.unparse(node.value), node.attr) in guards:
            return True
        node = node.value
    return False

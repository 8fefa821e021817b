"""Evaluates a launch file: its arguments, and the arguments of its nodes."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from launch_double import ROOT, modules


@dataclass(frozen=True)
class Started:
    """The keywords of one Node action."""

    keywords: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.keywords.get(name)

    @property
    def command(self) -> list[str]:
        """Return the words after the executable, in the order of launch_ros."""
        words = [*(self.arguments or ())]
        words += ["--ros-args", *(self.ros_arguments or ()), "--ros-args"]
        for rule in (f"__node:={self.name}" if self.name else "", f"__ns:={self.namespace}"):
            words += ["-r", rule] if rule else []
        for file in self.parameters or ():
            words += ["--params-file", file]
        for source, target in self.remappings or ():
            words += ["-r", f"{source}:={target}"]
        return words


class LaunchFile:
    """One launch file, loaded against the real packages or the double."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch, *, double: bool) -> None:
        if double:  # even if the import finds our own folder launch/
            for module, fallback in modules().items():
                monkeypatch.setitem(sys.modules, module, fallback)
        actions = importlib.import_module("launch_ros.actions")
        started: list[Started] = []

        class RecordedNode(actions.Node):  # type: ignore[misc, name-defined]
            def __init__(self, **keywords: Any) -> None:
                super().__init__(**keywords)
                started.append(Started(keywords))

        monkeypatch.setattr(actions, "Node", RecordedNode)
        launch_actions = importlib.import_module("launch.actions")
        processes: list[Started] = []

        class RecordedProcess(launch_actions.ExecuteProcess):  # type: ignore[misc, name-defined]
            def __init__(self, **keywords: Any) -> None:
                super().__init__(**keywords)
                processes.append(Started(keywords))

        monkeypatch.setattr(launch_actions, "ExecuteProcess", RecordedProcess)
        #: The processes beside the nodes, of the last start.
        self.processes = processes
        self._started = started
        self._module = _load(name)

    def declared(self) -> dict[str, tuple[str, str]]:
        """Return default and description of every argument."""
        context = self._context({})
        found = {}
        for entity in self._module.generate_launch_description().entities:
            if type(entity).__name__ == "DeclareLaunchArgument":
                entity.visit(context)
                found[entity.name] = (
                    context.launch_configurations[entity.name],
                    entity.description,
                )
        return found

    def start(self, pushed: str = "", **arguments: str) -> list[Started]:
        """Visit the description as ``ros2 launch`` does and return the nodes that it starts."""
        self._started.clear()
        self.processes.clear()
        context = self._context(arguments)
        if pushed:
            context.launch_configurations["ros_namespace"] = pushed
        for entity in self._module.generate_launch_description().entities:
            entity.visit(context)
        return list(self._started)

    @staticmethod
    def _context(arguments: dict[str, str]) -> Any:
        context = sys.modules["launch"].LaunchContext()
        context.launch_configurations.update(arguments)
        return context


def real_packages_are_installed() -> bool:
    """Tell whether the real package is installed; our folder launch/ imports as an empty one."""
    try:
        return importlib.util.find_spec("launch.actions") is not None
    except ModuleNotFoundError:
        return False


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("launch_file", ROOT / "launch" / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

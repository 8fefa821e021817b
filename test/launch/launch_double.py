"""A strict double of the parts of ``launch`` and ``launch_ros`` that our launch files use.

For machines without those packages. An unknown keyword raises, an executable must be one that
CMakeLists.txt installs, and parameter files must exist.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def installed_executables() -> list[str]:
    """Return the executables that CMakeLists.txt installs for ``ros2 launch``."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(r"set\(executables ([\w\s]+)\)", text)[1].split()


class LaunchContext:
    def __init__(self) -> None:
        self.launch_configurations: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        return dict(os.environ)


class LaunchDescription:
    def __init__(self, initial_entities: Iterable[Any] | None = None) -> None:
        self.entities = list(initial_entities or ())


class DeclareLaunchArgument:
    def __init__(self, name: str, *, default_value: str, description: str) -> None:
        for text in (name, default_value, description):
            assert isinstance(text, str), f"{name}: expected texts, got {text!r}"
        assert description, f"{name}: no description"
        self.name, self.default_value, self.description = name, default_value, description

    def visit(self, context: LaunchContext) -> None:
        context.launch_configurations.setdefault(self.name, self.default_value)


class OpaqueFunction:
    def __init__(self, *, function: Callable[..., Any], args: Sequence[Any] = ()) -> None:
        self._function, self._args = function, args

    def visit(self, context: LaunchContext) -> Any:
        return self._function(context, *self._args)


class ExecutableInPackage:
    def __init__(self, executable: str, package: str) -> None:
        assert package == "edge_inference", f"no package {package}"
        assert executable in ("edge-inference", *installed_executables()), executable
        self.executable = executable


class ExecuteProcess:
    def __init__(
        self,
        *,
        cmd: list[str | ExecutableInPackage],
        additional_env: dict[str, str] | None = None,
        output: str = "log",
    ) -> None:
        assert output in ("log", "screen", "both", "own_log", "full")
        for word in cmd:
            assert isinstance(word, str | ExecutableInPackage), f"{word!r} in a command"
        for key, value in (additional_env or {}).items():
            assert isinstance(key, str), key
            assert isinstance(value, str), value


class Node:
    def __init__(
        self,
        *,
        package: str,
        executable: str,
        name: str | None = None,
        namespace: str | None = None,
        parameters: list[str] | None = None,
        remappings: list[tuple[str, str]] | None = None,
        arguments: list[str] | None = None,
        ros_arguments: list[str] | None = None,
        additional_env: dict[str, str] | None = None,
        output: str = "log",
        respawn: bool = False,
        respawn_delay: float | None = None,
    ) -> None:
        assert package == "edge_inference", f"no package {package}"
        assert executable in installed_executables(), f"{executable} is not installed"
        assert output in ("log", "screen", "both", "own_log", "full")
        assert isinstance(respawn, bool)
        assert respawn_delay is None or isinstance(respawn_delay, float)
        for file in parameters or ():
            assert Path(file).is_absolute(), f"parameter file {file} depends on the folder"
            assert Path(file).is_file(), f"parameter file {file} does not exist"
        for word in [*(arguments or ()), *(ros_arguments or ())]:
            assert isinstance(word, str), f"expected texts as arguments, got {word!r}"
        for pair in remappings or ():
            assert [type(side) for side in pair] == [str, str], f"remapping {pair!r}"
        for key, value in (additional_env or {}).items():
            assert isinstance(key, str), key
            assert isinstance(value, str), value
        assert name is None or re.fullmatch(r"\w+", name), name
        assert namespace is None or re.fullmatch(r"/?(\w+(/\w+)*)?", namespace), namespace


def modules() -> dict[str, ModuleType]:
    """Return the doubles by the names that launch files import."""
    contents: dict[str, tuple[type[Any], ...]] = {
        "launch": (LaunchContext, LaunchDescription),
        "launch.actions": (DeclareLaunchArgument, ExecuteProcess, OpaqueFunction),
        "launch_ros": (),
        "launch_ros.actions": (Node,),
        "launch_ros.substitutions": (ExecutableInPackage,),
    }
    made = {}
    for name, classes in contents.items():
        made[name] = ModuleType(name)
        for item in classes:
            setattr(made[name], item.__name__, item)
    return made

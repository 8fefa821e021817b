"""Runs the sides of a benchmark in separate processes, each with its own ROS domain.

A side is an ordinary class. It runs in a new process, so that the allocator, threads and
executor of one side do not affect the other. The benchmark calls each side for small blocks
of work in turn, so that noise of the machine affects both sides equally.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.ros_domain import reserve_domain

_locks: list[socket.socket] = []


def domains(count: int) -> list[int]:
    """Reserve ROS domains until this process ends, so that concurrent processes are separate."""
    found, locks = zip(*(reserve_domain() for _ in range(count)), strict=True)
    _locks.extend(locks)
    return list(found)


def isolation(domain: int) -> dict[str, str]:
    """Return the environment that restricts a ROS process to this machine and domain."""
    return {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


def shared_memory() -> dict[str, str]:
    """Return the environment that selects the shipped Fast DDS profile."""
    profile = str(Path(__file__).parents[1] / "config" / "fastdds.xml")
    return {
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,  # its name before Kilted
    }


class Side:
    """A class in a separate process: ``Side(domain, StockHop, 640, 480).ask("run", 10)``."""

    def __init__(
        self,
        domain: int,
        factory: Callable[..., Any],
        *arguments: Any,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the process and wait until it has called ``factory(*arguments)``."""
        spawn = multiprocessing.get_context("spawn")
        self._name = factory.__name__
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(
            target=_serve,
            args=(theirs, {**isolation(domain), **(environment or {})}, factory, arguments),
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._receive()

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method in the other process and return its result."""
        self._connection.send((method, arguments))
        return self._receive()

    def close(self) -> None:
        """End the process after its cleanup."""
        if self._process.is_alive():
            self._connection.send(None)
        self._process.join()
        self._connection.close()

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._process.terminate()
        self.close()

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self._name} died; see its error above") from None


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmRSS; has the process ended?")


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used so far."""
    # The name in the second field may contain spaces; counting starts after its bracket.
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _serve(
    connection: Connection,
    environment: dict[str, str],
    factory: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    os.environ.update(environment)
    try:
        worker = factory(*arguments)
        connection.send(None)
        while (request := connection.recv()) is not None:
            method, values = request
            connection.send(getattr(worker, method)(*values))
        worker.close()
    except EOFError:
        return  # the benchmark itself has ended
    except Exception:
        traceback.print_exc()
        sys.exit(1)

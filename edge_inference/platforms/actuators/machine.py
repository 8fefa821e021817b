"""The machine that actuators change: its files below a root, and its tools on a search path.

Every write goes through this module. It writes only the files that are listed here, and
never a file of a fan.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from edge_inference.errors import ActuatorError
from edge_inference.platforms.system_files import HostFiles

_CLOCKS = r"scaling_(governor|min_freq|max_freq)"
_KERNEL_FILE = re.compile(
    rf"sys/devices/system/cpu/cpufreq/policy\d+/{_CLOCKS}"
    r"|sys/class/devfreq/[\w.:-]+/(governor|min_freq|max_freq)"
    r"|proc/sys/vm/swappiness"
)
_OWN_FILE = re.compile(r"etc/(sysctl\.d|security/limits\.d)/90-edge-inference\.conf")
_SYSTEM_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")  # a user's PATH may lack /usr/sbin
_EXIT_TIMEOUT_S = 1.0
# Makes a tool end with the process that called it: a tool that went on after its caller was
# killed would overwrite the restored originals. This runs in a process of its own, because
# prctl is not safe between fork and exec in a process with threads.
_DEATH_SIGNAL_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""
_MAX_OUTPUT_CHARS = 200


@dataclass(frozen=True)
class Machine:
    """``search_path`` has the folders of the tools; empty means ``$PATH`` and the system's folders.

    With a root other than / no tools are found by default, because they would change this
    machine. A tool that runs longer than ``timeout_s`` is killed.
    """

    root: Path = Path("/")
    search_path: str = ""
    timeout_s: float = 30.0

    @property
    def files(self) -> HostFiles:
        """The files of this machine, as sensors read them."""
        return HostFiles(self.root)

    def read(self, path: str) -> str:
        """Return the stripped text of a file; raises ActuatorError."""
        try:
            return self.files.read(path).decode(errors="replace").strip()
        except OSError as error:
            raise ActuatorError(f"{self.root / path}: {error.strerror}") from error

    def exists(self, path: str) -> bool:
        """Tell whether a file or folder exists and is visible to this user."""
        try:
            return (self.root / path).exists()
        except OSError:
            return False

    def list_folders(self, parent: str, *patterns: str) -> list[str]:
        """Return the sorted paths in a folder whose names match one of the patterns."""
        return [
            f"{parent}/{name}"
            for name in self.files.list(parent)
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]

    def write(self, path: str, text: str) -> None:
        """Write to a kernel file; raises ActuatorError."""
        if not _KERNEL_FILE.fullmatch(path):
            raise ActuatorError(f"{self.root / path}: not among the files that may be written")
        try:
            handle = os.open(self.root / path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(handle, text.encode() + b"\n")
            finally:
                os.close(handle)
        except OSError as error:
            raise self._refusal(path, error, f"while writing {text!r}") from error

    def replace(self, path: str, text: str | None) -> None:
        """Replace one of our configuration files atomically, or remove it (None)."""
        if not _OWN_FILE.fullmatch(path):
            raise ActuatorError(f"{self.root / path}: not among the files that may be created")
        file = self.root / path
        try:
            if text is None:
                file.unlink(missing_ok=True)
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            # Neither sysctl nor the limits module reads a file with this name.
            new_file = file.with_suffix(".new")
            new_file.write_text(text, encoding="utf-8")
            new_file.chmod(0o644)
            new_file.replace(file)
        except OSError as error:
            raise self._refusal(path, error, "while writing it") from error

    def find_tool(self, name: str) -> str:
        """Return the path of a tool; raises ActuatorError if it is not installed."""
        found = shutil.which(name, path=self._search_path())
        if found is None:
            raise ActuatorError(f"{name}: not found on this machine")
        return found

    def call(self, name: str, *arguments: str) -> tuple[int, str]:
        """Run a tool without input and return its exit code and output.

        Raises ActuatorError if it is not installed, or was killed after the timeout.
        """
        leash = [sys.executable, "-I", "-S", "-c", _DEATH_SIGNAL_LAUNCHER, str(os.getpid())]
        command = [*leash, self.find_tool(name), *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            raise ActuatorError(f"{name}: {error.strerror}") from error
        try:
            output, _ = process.communicate(timeout=self.timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ActuatorError(
                f"{' '.join((name, *arguments))}: killed after {self.timeout_s:g} s"
            ) from None
        return process.returncode, output.decode(errors="replace")

    def run(self, name: str, *arguments: str) -> str:
        """Run a tool as ``call`` does; also raises ActuatorError if it fails."""
        code, output = self.call(name, *arguments)
        if code:
            raise ActuatorError(f"{' '.join((name, *arguments))}: {describe_failure(code, output)}")
        return output

    def _search_path(self) -> str:
        if self.search_path or self.root != Path("/"):
            return self.search_path
        return os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_FOLDERS])

    def _refusal(self, path: str, error: OSError, during: str) -> ActuatorError:
        is_rights = error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0
        hint = "; it needs root" if is_rights else ""
        return ActuatorError(f"{self.root / path}: {error.strerror} {during}{hint}")


def describe_failure(code: int, output: str) -> str:
    """Describe the failure of a tool by its last line and its exit code."""
    lines = output.strip().splitlines()
    last_line = f" ({lines[-1].strip()[:_MAX_OUTPUT_CHARS]})" if lines else ""
    hint = "" if os.geteuid() == 0 else "; it may need root"
    return f"failed with exit code {code}{last_line}{hint}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a tool and its children; a process that is blocked in the kernel is left alone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_EXIT_TIMEOUT_S)

"""Installs packages with uv, which fetches them in parallel, or with pip where uv cannot be had.

uv reads nothing of pip's configuration, so it gets what pip was told in variables of its own.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from commands import NO_SPACE, Commands, SetUpError, StoppedError

# Options of pip that are one option of uv: the variable that uv reads it from.
VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "no-index": "UV_NO_INDEX",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "trusted-host": "UV_INSECURE_HOST",
}
# pip's order, from what is overridden to what overrides.
SECTIONS = ("global", "install", ":env:")


def pip_settings(listing: str) -> dict[str, str]:
    """Read what ``pip config list`` prints: lines such as ``global.cert='/a/file'``."""
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.partition(".")
        if section in found and value:
            found[section][option] = str(ast.literal_eval(value))
    return {option: value for section in found.values() for option, value in section.items()}


def main_index(usage: str) -> str | None:
    """Read from what ``pip install --help`` prints which index pip asks by default."""
    found = re.search(r"--index-url <url>[^-]*?\(default\s+(\S+)\)", usage)
    return found[1] if found else None


def uv_environment(
    settings: Mapping[str, str], cache: Path, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment that makes uv do as pip would; what the user gave uv stays.

    Of a version that several indexes have, pip takes the best wheel of all, uv the best of the
    first index, and uv asks its default index last. So pip's main index is named first, too: an
    additional one may hold a package's pure wheel alone, which lacks its compiled library.
    """
    chosen = {
        "UV_CACHE_DIR": str(cache),
        "UV_LINK_MODE": "hardlink",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "1",
    }
    for option, variable in VARIABLES.items():
        if option in settings:
            between = "," if option == "find-links" else " "
            chosen[variable] = between.join(settings[option].split())
    if "extra-index-url" in settings:
        # As pip: the best version of all indexes, not the first index that has anything.
        chosen["UV_INDEX_STRATEGY"] = "unsafe-best-match"
        if "index-url" in settings:
            chosen["UV_INDEX"] = f"{settings['index-url']} {chosen['UV_INDEX']}"
    return {**chosen, **given}


class Installer:
    """Installs into one environment."""

    def __init__(self, commands: Commands, requirement: Path, cache: Path) -> None:
        """``requirement`` is a file with one line, the uv that is used; ``cache`` a folder."""
        self._commands = commands
        self._requirement = requirement
        self._cache = cache
        self._lock = threading.Lock()
        self._uv: Path | None = None
        self._environment: dict[str, str] = {}
        self._without_uv = False

    def install(self, arguments: list[str], *, step: str) -> None:
        """Install what the arguments of ``pip install`` name."""
        uv = self._find_uv(step)
        if uv is not None:
            command = [str(uv), "pip", "install", "--python", str(self._commands.python)]
            try:
                self._commands.run([*command, *arguments], step=step, env=self._environment)
                return
            except SetUpError as error:
                if isinstance(error, StoppedError) or NO_SPACE in str(error):
                    raise
                self._go_on_without(f"uv failed, see {self._commands.log}")
        self._commands.pip(arguments, step=step)

    def compile(self, arguments: list[str]) -> None:
        """Let uv choose one version of each package that lists name."""
        uv = self._find_uv("uv")
        if uv is None:
            raise SetUpError("only uv writes lists for several Python versions at once")
        command = [str(uv), "pip", "compile", "--python", str(self._commands.python)]
        self._commands.run([*command, *arguments], env=self._environment)

    def _find_uv(self, step: str) -> Path | None:
        with self._lock:
            if self._uv is None and not self._without_uv:
                try:
                    self._uv = self._fetch(step)
                except SetUpError as error:
                    if isinstance(error, StoppedError) or NO_SPACE in str(error):
                        raise
                    self._go_on_without(f"uv cannot be had, see {self._commands.log}")
            return None if self._without_uv else self._uv

    def _fetch(self, step: str) -> Path:
        """Return uv, fetched with pip where it is not there yet."""
        wanted = self._requirement.read_text().strip()
        folder = self._cache / "tool" / wanted.replace("==", "-")
        uv = folder / "bin" / "uv"
        if not uv.exists():
            unfinished = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(unfinished, ignore_errors=True)
            self._commands.pip(["--no-deps", "--target", str(unfinished), wanted], step=step)
            unfinished.replace(folder)
        settings = pip_settings(self._ask_pip("config", "list"))
        if "index-url" not in settings and (
            index := main_index(self._ask_pip("install", "--help"))
        ):
            settings["index-url"] = index
        self._environment = uv_environment(settings, self._cache / "packages", os.environ)
        return uv

    def _ask_pip(self, *arguments: str) -> str:
        asked = [str(self._commands.python), "-m", "pip", *arguments]
        wide = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(asked, capture_output=True, text=True, check=False, env=wide).stdout

    def _go_on_without(self, reason: str) -> None:
        if not self._without_uv:
            self._commands.progress.say(f"{reason}; going on with pip, which takes longer")
        self._without_uv = True

"""Installs packages with uv, which fetches them in parallel, or with pip if uv is not available.

uv does not read pip's configuration, so the installer translates it into uv's own variables.
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

from command_runner import NO_SPACE, CommandRunner, SetUpError, StoppedError

# Options of pip, and the environment variable from which uv reads the same option.
UV_VARIABLES = {
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
# The sections of pip's configuration; a later one overrides an earlier one.
PIP_SECTIONS = ("global", "install", ":env:")


def parse_pip_settings(listing: str) -> dict[str, str]:
    """Parse the output of ``pip config list``: lines such as ``global.cert='/a/file'``."""
    options: dict[str, dict[str, str]] = {section: {} for section in PIP_SECTIONS}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.partition(".")
        if section in options and value:
            options[section][option] = str(ast.literal_eval(value))
    return {option: value for section in options.values() for option, value in section.items()}


def parse_default_index(usage: str) -> str | None:
    """Return pip's default index from the output of ``pip install --help``."""
    match = re.search(r"--index-url <url>[^-]*?\(default\s+(\S+)\)", usage)
    return match[1] if match else None


def make_uv_environment(
    settings: Mapping[str, str], cache: Path, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment in which uv installs as pip would; ``given`` overrides it.

    If several indexes have the same version, pip takes the best wheel of all of them, and uv the
    best wheel of the first one; uv asks its default index last. Therefore pip's main index also
    comes first here: an additional index may have only a package's pure wheel, which lacks its
    compiled library.
    """
    environment = {
        "UV_CACHE_DIR": str(cache),
        "UV_LINK_MODE": "hardlink",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "1",
    }
    for option, variable in UV_VARIABLES.items():
        if option in settings:
            separator = "," if option == "find-links" else " "
            environment[variable] = separator.join(settings[option].split())
    if "extra-index-url" in settings:
        # As pip does: the best version of all indexes, not of the first index with the package.
        environment["UV_INDEX_STRATEGY"] = "unsafe-best-match"
        if "index-url" in settings:
            environment["UV_INDEX"] = f"{settings['index-url']} {environment['UV_INDEX']}"
    return {**environment, **given}


class Installer:
    """Installs into one environment."""

    def __init__(self, runner: CommandRunner, requirement: Path, cache: Path) -> None:
        """``requirement`` is a file with one line, uv and its version; ``cache`` is a folder."""
        self._runner = runner
        self._requirement = requirement
        self._cache = cache
        self._lock = threading.Lock()
        self._uv: Path | None = None
        self._environment: dict[str, str] = {}
        self._is_uv_unusable = False

    def install(self, arguments: list[str], *, step: str) -> None:
        """Install the packages that the arguments of ``pip install`` name."""
        uv = self._find_uv(step)
        if uv is not None:
            command = [str(uv), "pip", "install", "--python", str(self._runner.python)]
            try:
                self._runner.run([*command, *arguments], step=step, env=self._environment)
                return
            except SetUpError as error:
                if isinstance(error, StoppedError) or NO_SPACE in str(error):
                    raise
                self._fall_back_to_pip(f"uv failed, see {self._runner.log}")
        self._runner.pip_install(arguments, step=step)

    def compile(self, arguments: list[str]) -> None:
        """Run ``uv pip compile``: choose one version of each package in lists of requirements."""
        uv = self._find_uv("uv")
        if uv is None:
            raise SetUpError(
                f"cannot use uv, see {self._runner.log}: "
                "only uv writes lists for several Python versions at once"
            )
        command = [str(uv), "pip", "compile", "--python", str(self._runner.python)]
        self._runner.run([*command, *arguments], env=self._environment)

    def _find_uv(self, step: str) -> Path | None:
        with self._lock:
            if self._uv is None and not self._is_uv_unusable:
                try:
                    self._uv = self._fetch_uv(step)
                except SetUpError as error:
                    if isinstance(error, StoppedError) or NO_SPACE in str(error):
                        raise
                    self._fall_back_to_pip(f"uv is not available, see {self._runner.log}")
            return None if self._is_uv_unusable else self._uv

    def _fetch_uv(self, step: str) -> Path:
        """Return uv's executable; fetch it with pip if it is not in the cache."""
        requirement = self._requirement.read_text().strip()
        folder = self._cache / "tool" / requirement.replace("==", "-")
        uv = folder / "bin" / "uv"
        if not uv.exists():
            unfinished = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(unfinished, ignore_errors=True)
            options = ["--no-deps", "--target", str(unfinished)]
            self._runner.pip_install([*options, requirement], step=step)
            unfinished.replace(folder)
        settings = parse_pip_settings(self._run_pip("config", "list"))
        if "index-url" not in settings and (
            index := parse_default_index(self._run_pip("install", "--help"))
        ):
            settings["index-url"] = index
        self._environment = make_uv_environment(settings, self._cache / "packages", os.environ)
        return uv

    def _run_pip(self, *arguments: str) -> str:
        command = [str(self._runner.python), "-m", "pip", *arguments]
        wide = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=wide).stdout

    def _fall_back_to_pip(self, reason: str) -> None:
        if not self._is_uv_unusable:
            self._runner.progress.print_line(f"{reason}; continuing with pip, which takes longer")
        self._is_uv_unusable = True

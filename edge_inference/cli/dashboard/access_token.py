"""The token that a page must have: from a file, or made up."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from edge_inference.core.bounded_file import read_text
from edge_inference.errors import ConfigError

_MAX_BYTES = 4096
_TOKEN = re.compile(r"[\x21-\x7e]{16,512}")
_HOW = "`(umask 077; openssl rand -hex 24 > {file})` makes one"


def make_token() -> str:
    """Return a new token, which fits into an address."""
    return secrets.token_urlsafe(24)


def read_token(file: Path) -> str:
    """Return the token in a file that only its owner may read; ~ is a home. Raises ConfigError."""
    try:
        file = file.expanduser()
    except RuntimeError as error:
        raise ConfigError(f"--token-file {file}: no such user on this machine") from error
    hint = _HOW.format(file=file)
    try:
        status = file.stat()
        text = read_text(file, _MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"--token-file {file}: {error.strerror or error}; {hint}") from error
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077 or status.st_uid != os.geteuid():
        raise ConfigError(
            f"--token-file {file}: expected a file of yours that nobody else may read, got the "
            f"mode {mode:04o}; `chmod 600 {file}`, and change the token if others have read it"
        )
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"--token-file {file}: expected one line of 16 to 512 ASCII characters without spaces; "
            f"{hint}"
        )
    return token

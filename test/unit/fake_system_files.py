"""System files in memory."""

from __future__ import annotations

import errno
import os


class FakeSystemFiles:
    """Files by path; an int is the errno of reading the file."""

    def __init__(self, contents: dict[str, bytes | int]) -> None:
        self.contents = contents

    def read(self, path: str) -> bytes:
        content = self.contents.get(path, errno.ENOENT)
        if isinstance(content, int):
            raise OSError(content, os.strerror(content), path)
        return content

    def modified_ns(self, path: str) -> int:
        return hash(self.read(path))

    def list(self, path: str) -> list[str]:
        start = f"{path}/"
        below = [file for file in self.contents if file.startswith(start)]
        return sorted({file[len(start) :].partition("/")[0] for file in below})

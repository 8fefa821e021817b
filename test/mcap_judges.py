"""Reads recordings as others do, with the mcap library and by the definitions in the file."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import io
import os
from pathlib import Path
from typing import Any

import pytest

needs_mcap = pytest.mark.skipif(
    importlib.util.find_spec("mcap") is None, reason="the package mcap is not installed"
)


def read_by_index(file: Path) -> list[tuple[Any, Any, Any]]:
    """Return schema, channel and message of each message by time, found through the index."""
    with file.open("rb") as stream:
        reader = importlib.import_module("mcap.reader").SeekingReader(stream, validate_crcs=True)
        assert reader.get_summary().chunk_indexes or not reader.get_summary().channels
        return list(reader.iter_messages())


def read_in_order(file: Path) -> list[tuple[Any, Any, Any]]:
    """Return the same in the order of the file, without the index."""
    with file.open("rb") as stream:
        module = importlib.import_module("mcap.reader")
        reader = module.NonSeekingReader(stream, validate_crcs=True)
        return list(reader.iter_messages(log_time_order=False))


def read_summary(file: Path) -> Any:
    """Return the library's summary of a file."""
    with file.open("rb") as stream:
        return importlib.import_module("mcap.reader").SeekingReader(stream).get_summary()


class SmallDisk(io.BytesIO):
    """A stream that has room for the head of a file, and not for much more."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


class RosDecoder:
    """Decodes messages of ROS 2 by nothing but the definitions that are recorded with them."""

    def __init__(self) -> None:
        self._stores: dict[str, Any] = {}

    def decode(self, schema_name: str, definition: str, data: bytes) -> Any:
        """Return the message."""
        if schema_name not in self._stores:
            typesys = importlib.import_module("rosbags.typesys")
            store = typesys.get_typestore(typesys.Stores.EMPTY)
            store.register(typesys.get_types_from_msg(definition, schema_name))
            self._stores[schema_name] = store
        return self._stores[schema_name].deserialize_cdr(data, schema_name)

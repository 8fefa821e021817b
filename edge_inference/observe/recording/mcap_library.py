"""The mcap library, which is imported when a recording is written or read."""

from __future__ import annotations

from typing import IO, Any

from edge_inference.errors import ConfigError

_REQUIREMENT = "mcap>=1.5,<2"


def check_mcap() -> None:
    """Raise ConfigError where the library is missing, or older than what is needed of it."""
    try:
        import lz4.frame  # noqa: F401 - the library takes its absence for a choice
        from mcap.writer import Writer
    except ImportError as error:
        reason = f"which cannot be imported ({error})"
    else:
        if hasattr(Writer, "flush"):
            return
        reason = "got an older version"
    raise ConfigError(
        f"recordings need the package mcap 1.5 or newer (extra 'mcap'), {reason}; install it with: "
        f"pip install '{_REQUIREMENT}'"
    )


def start_writer(stream: IO[bytes], profile: str) -> Any:
    """Return the library's writer for a stream, in which a file has begun.

    ``profile`` says which conventions the file follows. A chunk is compressed with lz4, and ends
    after 1 MiB or at ``flush``. Call :func:`check_mcap` before. Raises OSError where the stream
    cannot be written.
    """
    from mcap.writer import CompressionType, Writer

    writer = Writer(stream, compression=CompressionType.LZ4)
    writer.start(profile, "edge_inference")
    stream.flush()
    return writer

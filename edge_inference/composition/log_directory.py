"""Why ROS cannot keep its logs: it does not start without a folder for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edge_inference.core.disk import describe_write_error

LOG_VARIABLE = "ROS_LOG_DIR"
_MEND = f"name another folder with ${LOG_VARIABLE}"


def find_log_problem(environ: Mapping[str, str] | None = None) -> str | None:
    """Say why there is no folder for the logs, None where there is one.

    It is ``$ROS_LOG_DIR``, else ``log`` in ``$ROS_HOME``, else ``~/.ros/log``, as rcl_logging has
    it; that asks for ``$HOME`` alone.
    """
    environ = os.environ if environ is None else environ
    home = environ.get("HOME", "")
    named = environ.get(LOG_VARIABLE) or f"{environ.get('ROS_HOME') or '~/.ros'}/log"
    if named.startswith("~"):
        if not home:
            return f"ROS keeps its logs in the home folder, and $HOME is not set; {_MEND}"
        named = home + named[1:]
    folder = Path(named)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        words = describe_write_error(error) if isinstance(error, OSError) else str(error)
        return f"ROS cannot keep its logs in {folder} ({words}); {_MEND}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"ROS cannot keep its logs in {folder} (Permission denied); {_MEND}"
    return None

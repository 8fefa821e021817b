"""Check of the ROS log directory: without a writable one ROS does not start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edge_inference.core.disk import describe_write_error

LOG_VARIABLE = "ROS_LOG_DIR"
_HINT = f"set another directory with ${LOG_VARIABLE}"


def find_log_problem(environ: Mapping[str, str] | None = None) -> str | None:
    """Return why the log directory cannot be used, None if it can.

    As in rcl_logging it is ``$ROS_LOG_DIR``, else ``$ROS_HOME/log``, else ``~/.ros/log``, where
    ``~`` is ``$HOME``.
    """
    environ = os.environ if environ is None else environ
    home = environ.get("HOME", "")
    path = environ.get(LOG_VARIABLE) or f"{environ.get('ROS_HOME') or '~/.ros'}/log"
    if path.startswith("~"):
        if not home:
            return f"the ROS log directory is in the home folder, but $HOME is not set; {_HINT}"
        path = home + path[1:]
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = describe_write_error(error) if isinstance(error, OSError) else str(error)
        return f"the ROS log directory {folder} cannot be created ({reason}); {_HINT}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"the ROS log directory {folder} cannot be written (Permission denied); {_HINT}"
    return None

"""A session of the package requests whose answers are bounded in size and time."""

from __future__ import annotations

import importlib
import io
import time
from typing import Any

#: A collector answers with a few bytes, or with a sentence that says what is wrong.
_MAX_ANSWER_BYTES = 64 * 1024


def make_bounded_session(max_s: float) -> Any:
    """Return a session that refuses longer answers, and those that take longer than ``max_s``.

    The timeout of requests itself is that of one packet, and the size of an answer has no limit
    there. Redirections are not followed: the metrics go where the user said, or nowhere. Raises
    ImportError where the package is missing.
    """
    requests: Any = importlib.import_module("requests")
    broken: Any = importlib.import_module("urllib3").exceptions.HTTPError

    class BoundedSession(requests.Session):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            options |= {"stream": True, "allow_redirects": False}
            end_s = time.monotonic() + max_s
            response = super().send(request, **options)
            content = bytearray()
            try:
                # More bytes at once would wait until all of them have come.
                while byte := response.raw.read(1):
                    content += byte
                    if len(content) > _MAX_ANSWER_BYTES or time.monotonic() > end_s:
                        raise requests.RequestException("the answer is too long, or does not end")
            except broken as error:
                raise requests.RequestException(str(error)) from error
            finally:
                response.raw.close()
            response.raw = io.BytesIO(content)
            return response

    return BoundedSession()

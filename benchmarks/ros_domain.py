"""A ROS domain for each test process, test or benchmark."""

from __future__ import annotations

import random
import socket

# Higher domains use ports in the range that Linux uses for outgoing connections.
DOMAINS = range(1, 102)
LOCK_PORT = 22100


def reserve_domain() -> tuple[int, socket.socket]:
    """Return a ROS domain that no other test or benchmark on this machine uses, and its lock.

    The lock is a bound port, which the kernel releases when the process ends. Raises
    RuntimeError if all domains are in use.
    """
    for domain in random.SystemRandom().sample(DOMAINS, len(DOMAINS)):
        lock = socket.socket()
        try:
            lock.bind(("127.0.0.1", LOCK_PORT + domain))
        except OSError:
            lock.close()
            continue
        return domain, lock
    raise RuntimeError(f"all {len(DOMAINS)} ROS domains are in use by other tests and benchmarks")

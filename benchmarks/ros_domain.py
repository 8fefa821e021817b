"""ROS domains, each for one test process, test or benchmark at a time."""

from __future__ import annotations

import random
import socket

# Higher domains use ports of the range that Linux gives to outgoing connections.
DOMAINS = range(1, 102)
LOCK_PORT = 22100


def claim() -> tuple[int, socket.socket]:
    """Pick a ROS domain that no other test process or benchmark on this machine holds.

    A bound port is the claim: it ends with the process, however that ends.
    Raises RuntimeError where all are held.
    """
    for domain in random.SystemRandom().sample(DOMAINS, len(DOMAINS)):
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", LOCK_PORT + domain))
        except OSError:
            held.close()
            continue
        return domain, held
    raise RuntimeError(f"all {len(DOMAINS)} ROS domains are taken by other tests and benchmarks")

"""A container that spins in a thread, and a stranger in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rclpy.executors import SingleThreadedExecutor

from edge_inference.composition import container as container_module
from rig import Outside, Rig


@pytest.fixture(params=["best"])
def rig(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A spinning container; parametrise indirectly with "single" for the older executor."""
    if request.param == "single":
        monkeypatch.setattr(
            container_module,
            "make_executor",
            lambda context: SingleThreadedExecutor(context=context),
        )
    rig = Rig()
    yield rig
    rig.close()


@pytest.fixture(scope="session")
def _outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def outside(_outside: Outside) -> Iterator[Outside]:
    """Stock rclpy in another process."""
    yield _outside
    _outside.reset()

"""What every tier shares: an isolated ROS graph, tidy caches, and the reason a GPU test is skipped.

A test's tier is the folder it lies in: unit, process, contract, nodes, launch, gpu, repo.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import hypothesis.configuration
import pytest

import gpu_kit
from benchmarks import ros_domain

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
# They start first in their tier, longest first, so that no worker is left alone with one of them.
LONGEST = (
    "test_trt_on_double.py",
    "test_compare_models.py",
    "test_derived_models.py",
    "test_public_recogniser.py",
    "test_artifact_cache_processes.py",
    "test_engine_commands.py",
    "test_builder_rtx.py",
    "test_robot_install.py",
    "test_colcon.py",
    "test_pip_install.py",
)


# Longer than a wait of a test that fails. What stands still holds Python's lock, often enough.
STANDS_STILL_S = 600.0
_STDERR = pytest.StashKey[int]()

# Read when NumPy is imported. Tests run side by side: more threads of a matrix product would only
# wait for a processor, and they do so at full load.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before any test module imports rclpy."""
    # During a test pytest keeps to itself what goes to descriptor 2.
    config.stash[_STDERR] = os.dup(2)
    gpu_kit.put_on_path()
    domain, claim = ros_domain.claim()
    config.add_cleanup(claim.close)
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOG_DIR"] = str(CACHE / "ros")
    os.environ["EDGE_INFERENCE_CACHE"] = str(CACHE / "edge_inference")
    _choose_examples()
    # The shell ignores it for what it runs in the background, and our children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _watched(item: pytest.Item) -> Iterator[None]:
    """End the process where a step of a test stands still; its tracebacks tell where.

    pytest's own ``faulthandler_timeout`` watches no teardown of a test that failed.
    """
    faulthandler.dump_traceback_later(STANDS_STILL_S, exit=True, file=item.config.stash[_STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the fixtures being made."""
    with _watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the test."""
    with _watched(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the fixtures being ended."""
    with _watched(item):
        return (yield)


def _choose_examples() -> None:
    """Have Hypothesis draw the same few examples each time, or many new ones where asked to.

    The profile ``random`` looks for faults: what it finds is kept, and becomes an ``@example``.
    """
    hypothesis.configuration.set_hypothesis_home_dir(CACHE / "hypothesis")
    profiles = hypothesis.settings
    # A shared machine's pauses are no failures.
    profiles.register_profile(
        "fixed", derandomize=True, max_examples=20, deadline=None, database=None
    )
    examples = hypothesis.database.DirectoryBasedExampleDatabase(CACHE / "hypothesis" / "examples")
    profiles.register_profile(
        "random", max_examples=200, deadline=None, print_blob=True, database=examples
    )
    wanted = os.environ.get("HYPOTHESIS") or "fixed"
    if wanted not in ("fixed", "random"):
        raise pytest.UsageError(f"HYPOTHESIS={wanted}: expected fixed or random")
    profiles.load_profile(wanted)
    if wanted == "fixed":
        _draw_nothing_from_modules()


def _draw_nothing_from_modules() -> None:
    """Hypothesis draws from the constants of all modules of ours that are loaded so far.

    What an example is would then depend on what ran before. It has no setting for this; where it
    is built otherwise, examples vary again.
    """
    providers = sys.modules.get("hypothesis.internal.conjecture.providers")
    if hasattr(providers, "is_local_module_file"):
        providers.is_local_module_file = lambda path: False


def pytest_report_header() -> list[str]:
    """Say in which ROS domain the tests run, and which examples Hypothesis draws."""
    domain, distro = os.environ["ROS_DOMAIN_ID"], os.environ.get("ROS_DISTRO", "no ROS")
    examples = os.environ.get("HYPOTHESIS") or "fixed"
    return [f"ROS domain {domain}, {distro}; Hypothesis: {examples} examples"]


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front; skip the gpu tier, with its reason, without a GPU."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
    gpu = ROOT / "test" / "gpu"
    if _has_cuda_driver():
        return
    for item in items:
        if gpu in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no CUDA driver on this machine"))

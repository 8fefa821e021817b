"""The configuration of all tiers: an isolated ROS graph, folders for caches, skipped GPU tests.

The tier of a test is its folder: unit, process, contract, nodes, launch, gpu, repo, campaign,
optimize.
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
import installed_extension
from benchmarks import ros_domain

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
# These files start first in their tier, the slowest first, so that none of them runs alone at the
# end.
SLOWEST_FILES = (
    "test_new_model.py",
    "test_trt_on_double.py",
    "test_compare_models.py",
    "test_derived_models.py",
    "test_lowered_recognizer.py",
    "test_artifact_cache_processes.py",
    "test_engine_commands.py",
    "test_builder_rtx.py",
    "test_robot_install.py",
    "test_colcon.py",
    "test_pip_install.py",
    "test_fast_enough.py",
    "test_tutorial.py",
)
# Longer than any deadline inside a test. A step that hangs often holds Python's lock.
STEP_TIMEOUT_S = 600.0
_STDERR = pytest.StashKey[int]()

# NumPy and torch read these at import. Tests run in parallel, so more threads for one matrix
# product would only wait for a processor, and they wait at full load.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config: pytest.Config) -> None:
    """Set the environment before any test module imports rclpy."""
    # pytest captures descriptor 2 during a test.
    config.stash[_STDERR] = os.dup(2)
    gpu_kit.put_on_path()
    domain, lock = ros_domain.reserve_domain()
    config.add_cleanup(lock.close)
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOG_DIR"] = str(CACHE / "ros")
    os.environ["EDGE_INFERENCE_CACHE"] = str(CACHE / "edge_inference")
    _load_hypothesis_profile()
    # A shell starts background commands with SIGINT ignored, and child processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def extension_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the user's package of test/extension_package for this process and its children."""
    folder = tmp_path_factory.mktemp("extension_package")
    with installed_extension.extension_package_installed(folder):
        yield


@contextmanager
def _step_timeout(item: pytest.Item) -> Iterator[None]:
    """End the process with the tracebacks of all threads if a step of a test hangs.

    pytest's own ``faulthandler_timeout`` does not cover the teardown of a failed test.
    """
    faulthandler.dump_traceback_later(STEP_TIMEOUT_S, exit=True, file=item.config.stash[_STDERR])
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Limit the time of the fixtures' set-up."""
    with _step_timeout(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Limit the time of the test."""
    with _step_timeout(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Limit the time of the fixtures' teardown."""
    with _step_timeout(item):
        return (yield)


def _load_hypothesis_profile() -> None:
    """Let Hypothesis draw the same few examples each time, or many new ones on request.

    The profile ``random`` searches for faults and keeps its findings; add each as an ``@example``.
    """
    hypothesis.configuration.set_hypothesis_home_dir(CACHE / "hypothesis")
    profiles = hypothesis.settings
    # No deadline: a pause of a shared machine is not a failure.
    profiles.register_profile(
        "fixed", derandomize=True, max_examples=20, deadline=None, database=None
    )
    examples = hypothesis.database.DirectoryBasedExampleDatabase(CACHE / "hypothesis" / "examples")
    profiles.register_profile(
        "random", max_examples=200, deadline=None, print_blob=True, database=examples
    )
    profile = os.environ.get("HYPOTHESIS") or "fixed"
    if profile not in ("fixed", "random"):
        raise pytest.UsageError(f"HYPOTHESIS={profile}: expected fixed or random")
    profiles.load_profile(profile)
    if profile == "fixed":
        _ignore_constants_of_modules()


def _ignore_constants_of_modules() -> None:
    """Keep Hypothesis from drawing examples from the constants of the loaded modules.

    The examples would depend on the modules that earlier tests have loaded. Hypothesis has no
    setting for this. If its internals change, this function does nothing, and examples vary again.
    """
    providers = sys.modules.get("hypothesis.internal.conjecture.providers")
    if hasattr(providers, "is_local_module_file"):
        providers.is_local_module_file = lambda path: False


def pytest_report_header() -> list[str]:
    """Return the ROS domain of the tests and the profile of Hypothesis."""
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
    """Sort the slowest files to the front; skip the gpu tier if there is no CUDA driver."""
    positions = {name: position for position, name in enumerate(SLOWEST_FILES)}
    items.sort(key=lambda item: positions.get(item.path.name, len(positions)))
    gpu = ROOT / "test" / "gpu"
    if _has_cuda_driver():
        return
    for item in items:
        if gpu in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no CUDA driver on this machine"))

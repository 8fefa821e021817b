"""Checks of the software: Python, libraries, engines, ROS 2, limits of the process, the disk."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

from edge_inference.engines.cache.cache_folder import CACHE_VARIABLE, default_cache_folder
from edge_inference.errors import CacheError
from edge_inference.observe.doctor.check import DoctorCheck
from edge_inference.observe.doctor.finding import Finding
from edge_inference.observe.doctor.machine_activity import Activity
from edge_inference.observe.doctor.middleware_profile import (
    DEFAULT_SEGMENT_BYTES,
    SHIPPED_SEGMENT_BYTES,
    find_profile,
)
from edge_inference.observe.doctor.system_view import SystemView, UnknownStateError

_MIB, _GIB = 1 << 20, 1 << 30
_PYTHON = ((3, 10), (3, 12))
#: An image of 1080p in RGB takes 6 MB; the kernel's default of 208 KiB holds 3 fragments.
_RECEIVE_BYTES = 4 * _MIB
_LOW_DISK, _SHORT_DISK = 2 * _GIB, _GIB // 4
_FILES = 1024
_FAST_DDS = "rmw_fastrtps_cpp"
_MAX_DOMAIN = 232
#: Higher domains use ports that Linux gives to outgoing connections.
_SAFE_DOMAINS = (range(102), range(215, _MAX_DOMAIN + 1))


def _python(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    value = ".".join(str(part) for part in sys.version_info[:3])
    if _PYTHON[0] <= sys.version_info[:2] <= _PYTHON[1]:
        yield check.ok(value)
    else:
        yield check.note(value, "it is tested with Python 3.10 to 3.12", "use one of these")


def _engines(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    facts = view.facts()
    versions = [f"{name} {facts[name]}" for name in ("onnxruntime", "tensorrt") if name in facts]
    reasons = view.engine_problems()
    usable = [name for name, reason in reasons.items() if reason is None]
    value = ", ".join([*versions, f"usable: {', '.join(usable) or 'none'}"])
    if not usable:
        yield check.problem(
            value,
            "no engine can run a model here: "
            + "; ".join(f"{name}: {reason}" for name, reason in reasons.items()),
            "install ONNX Runtime",
            "pip install onnxruntime",
        )
    elif "gpu" in facts and usable == ["ort"]:
        yield check.warning(
            value,
            f"the GPU is not used: {reasons['trt']}",
            "install TensorRT and pycuda, or onnxruntime-gpu",
            "edge-inference engine --help",
        )
    else:
        yield check.ok(value)


def _gpu(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    name = view.facts().get("gpu")
    tegra = (view.find("etc/nv_tegra_release") or "").partition("\n")[0]
    driver = (view.find("proc/driver/nvidia/version") or "").partition("\n")[0] or tegra
    if name is not None:
        yield check.ok(f"{name}; {driver or 'version of the driver unknown'}")
    elif driver:
        yield check.problem(
            f"none, but a driver: {driver}",
            "the driver of the kernel is there, and its library does not find the GPU",
            "pass the GPU into the container (docker: --runtime nvidia or --gpus all)",
            "nvidia-smi",
        )
    else:
        yield check.note("none", "models run on the CPU")


def _machine(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    group = view.find("proc/self/cgroup") or ""
    runtime = next((n for n in ("docker", "kubepods", "lxc", "podman") if n in group), "")
    if view.exists(".dockerenv"):
        runtime = "docker"
    elif view.exists("run/.containerenv"):
        runtime = "podman"
    product = view.find("sys/class/dmi/id/product_name") or ""
    is_virtual = " hypervisor" in (view.find("proc/cpuinfo") or "") or view.exists(
        "sys/hypervisor/type"
    )
    kinds = [*(["container"] if runtime else []), *(["virtual machine"] if is_virtual else [])]
    if not kinds:
        yield check.ok(
            (view.find("proc/device-tree/model") or product or "a machine of its own").strip("\0")
        )
        return
    yield check.note(
        " in a ".join(kinds) + (f" ({runtime})" if runtime else ""),
        "the load, the clocks and the temperatures of the machine around it may not be visible",
        "compare figures only with those of the same machine",
    )


def _real_time(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    priority, _hard = view.limits(resource.RLIMIT_RTPRIO)
    if priority == 0:
        yield check.note(
            "not allowed",
            "a thread that must not wait, such as the watchdog of a motor driver, cannot get a "
            "real-time priority",
            "allow it to this user, then log in again",
            "sudo edge-inference platform tune --apply",
        )
    else:
        is_unlimited = priority == resource.RLIM_INFINITY
        yield check.ok("any priority" if is_unlimited else f"up to priority {priority}")


def _open_files(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    soft, _hard = view.limits(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FILES:
        yield check.warning(
            str(soft),
            "sockets of the middleware and models share them",
            "allow more",
            "ulimit -n 4096",
        )
    else:
        yield check.ok("unlimited" if soft == resource.RLIM_INFINITY else str(soft))


def _receive_buffer(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    size = int(view.read("proc/sys/net/core/rmem_max"))
    if size < _RECEIVE_BYTES:
        yield check.warning(
            f"{size >> 10} KiB",
            "an image from another machine comes in hundreds of fragments, and what does not fit "
            "into the buffer is lost",
            f"allow {_RECEIVE_BYTES // _MIB} MiB or more",
            f"sudo sysctl -w net.core.rmem_max={_RECEIVE_BYTES}",
        )
    else:
        yield check.ok(f"{size / _MIB:.0f} MiB")


def _ros(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    distribution = view.environment.get("ROS_DISTRO", "")
    if not view.has_module("rclpy"):
        yield check.note(
            "not found",
            "pipelines need it; models and engines can be measured without it",
            "source a ROS 2 installation, or use `make set-up`",
            "source /opt/ros/jazzy/setup.bash",
        )
        return
    middleware = view.environment.get("RMW_IMPLEMENTATION", "")
    value = f"{distribution or 'unknown distribution'}, {middleware or 'default middleware'}"
    if middleware not in ("", _FAST_DDS):
        yield check.note(
            value,
            "the shipped profile for large images is for Fast DDS",
            "set up shared memory of this middleware yourself",
        )
    else:
        yield check.ok(value)


def _domain(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    text = view.environment.get("ROS_DOMAIN_ID", "")
    advice = "choose a number from 0 to 101"
    if text and not (text.isdecimal() and int(text) <= _MAX_DOMAIN):
        yield check.problem(
            repr(text),
            f"expected a number from 0 to {_MAX_DOMAIN}",
            advice,
            "export ROS_DOMAIN_ID=0",
        )
    elif text and not any(int(text) in each for each in _SAFE_DOMAINS):
        yield check.warning(
            text,
            "its ports may belong to an outgoing connection, and a node then does not start",
            advice,
            "export ROS_DOMAIN_ID=0",
        )
    else:
        yield check.ok(text or "0 (default)")


def _profile(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    profile = find_profile(view)
    if view.environment.get("RMW_IMPLEMENTATION", _FAST_DDS) not in ("", _FAST_DDS):
        raise UnknownStateError("the middleware is not Fast DDS")
    if profile.problem:
        yield check.problem(
            profile.file,
            f"${profile.variable} names a file that cannot be read: {profile.problem}",
            "name an existing file, or unset the variable",
            f"unset {profile.variable}",
        )
        return
    size = profile.segment_bytes or DEFAULT_SEGMENT_BYTES
    value = f"{profile.file or 'none'}, {size >> 10} KiB of shared memory"
    if size < SHIPPED_SEGMENT_BYTES:
        yield check.note(
            value,
            "the launch files set the shipped profile for their own nodes; another process, such "
            "as a camera driver, sends large images in fragments without it",
            "set it for every process that sends images",
            "export FASTDDS_DEFAULT_PROFILES_FILE="
            "$(ros2 pkg prefix --share edge_inference)/config/fastdds.xml",
        )
    else:
        yield check.ok(value)


def _cache_disk(check: DoctorCheck, view: SystemView, _: Activity) -> Iterator[Finding]:
    try:
        folder = default_cache_folder(view.environment)
    except CacheError as error:
        raise UnknownStateError(str(error)) from error
    nearest = _nearest_folder(folder)
    _total, _used, free = view.disk(nearest)
    value = f"{folder}: {free // _MIB} MiB free"
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield check.problem(
            f"{folder}: not writable",
            "engines and derived models cannot be kept, and are made again each time",
            f"allow this user to write there, or set ${CACHE_VARIABLE}",
            f"ls -ld {nearest}",
        )
    elif free < _LOW_DISK:
        make = check.problem if free < _SHORT_DISK else check.warning
        yield make(
            value,
            "a built engine and its model may take hundreds of megabytes",
            f"free space, or set ${CACHE_VARIABLE} to a folder on another disk",
            "edge-inference engine list",
        )
    else:
        yield check.ok(value)


def _nearest_folder(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))


SOFTWARE_CHECKS = (
    DoctorCheck("machine", "kind", _machine),
    DoctorCheck("machine", "gpu", _gpu),
    DoctorCheck("network", "receive buffer", _receive_buffer),
    DoctorCheck("limits", "real-time priority", _real_time),
    DoctorCheck("limits", "open files", _open_files),
    DoctorCheck("software", "python", _python),
    DoctorCheck("software", "engines", _engines),
    DoctorCheck("software", "cache", _cache_disk),
    DoctorCheck("ros", "ros 2", _ros),
    DoctorCheck("ros", "domain", _domain),
    DoctorCheck("ros", "profile", _profile),
)

"""A robustness campaign: hostile messages, floods, clocks, signals, files and utterances.

Messages: every subscription of the robot's pipelines receives mutated messages (also in their first
bytes) and the worst single messages; the memory that they take is measured. Floods: one process
floods every topic in turn, while another one drives the robot and says stop. Clocks: a simulated
clock stands still, crawls, jumps or runs back while the robot drives. Processes: signals and kills
at any moment of a start, and invalid files. Utterances: spoken commands after a cut-off negation,
and the stop words; recognition errors count as wrong too. At the end the campaign prints the number
of trials and all problems.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np

from benchmarks import campaign_clocks, campaign_processes, campaign_utterances
from benchmarks.campaign_clocks import SHAPES, Simulation
from benchmarks.campaign_flood import COMMAND_TOPICS, Driver, Flood
from benchmarks.campaign_messages import ARGUMENTS, COMPRESSED, PIPELINE, Target
from benchmarks.campaign_utterances import VOICES
from benchmarks.programs import run_program
from benchmarks.report import Report
from benchmarks.sides import Side, domains, shared_memory
from benchmarks.voice_audio import list_missing_programs
from edge_inference.composition.pipeline import load_pipeline

_MUTATIONS = 3000
_CYCLE_MS = 40.0  # the default control cycle of the command node
#: The memory that one message may take.
MEMORY_BOUND_MIB = 512.0
#: Larger than the images of any camera, in bytes.
_LARGEST_IMAGE = 190_000_000
_PARTS = ("messages", "floods", "clocks", "processes", "utterances")


@dataclass
class Tally:
    """The totals of a campaign."""

    tried: int = 0
    crashes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    dropped: int = 0
    lost: int = 0
    peak_mib: float = 0.0
    stops_ms: list[float] = field(default_factory=list)
    stops_beside_largest_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Scale:
    """The number of trials of each kind."""

    mutations: int = _MUTATIONS
    stops: int = 20
    images: int = 20
    clocks: int = len(SHAPES)
    signals: int = 20
    kills: int = 5
    files: int = 100
    utterances: int = 36


QUICK = Scale(
    mutations=500, stops=3, images=3, clocks=4, signals=4, kills=1, files=12, utterances=6
)


def messages(tally: Tally, seed: int, scale: Scale) -> None:
    """Send mutated and worst messages to every subscription; check what still works."""
    index, topics = 0, None
    while topics is None or index < len(topics):
        try:
            with Side(domains(1)[0], Target) as target:
                topics = target.ask("topics")
                while index < len(topics):
                    _attack(tally, target, index, topics[index][0], seed, scale)
                    index += 1
        except (RuntimeError, BrokenPipeError, ConnectionResetError) as error:
            if topics is None:
                raise
            tally.crashes.append(f"{topics[index][0]}: {error}")
            index += 1


def _attack(tally: Tally, target: Side, index: int, topic: str, seed: int, scale: Scale) -> None:
    for method, arguments in (
        ("attack", (index, seed + index, scale.mutations)),
        ("send_worst", (index,)),
    ):
        cost = target.ask(method, *arguments)
        tally.tried += cost.tried
        tally.peak_mib = max(tally.peak_mib, cost.peak_mib)
        if cost.slowest_s > campaign_processes.HANG_S:
            tally.hangs.append(f"{topic}: {method}: {cost.slowest_s:.1f} s")
        print(
            f"{topic}: {method}: {cost.tried} sent, slowest {cost.slowest_s * 1e3:.0f} ms, "
            f"memory +{cost.peak_mib:.0f} MiB",
            flush=True,
        )
    tally.wrong += [f"after {topic}: {problem}" for problem in target.ask("wrong")]
    dropped, lost = target.ask("lost")
    tally.dropped += dropped
    tally.lost += lost
    if lost:
        print(
            f"after {topic}: {lost} valid messages were lost, and no stage reports a drop",
            flush=True,
        )


def floods(tally: Tally, scale: Scale, *, one_container: bool = False) -> None:
    """Flood every topic in turn while another process drives and stops the robot.

    The robot runs in the containers of its launch file, or in one container.
    """
    with Side(domains(1)[0], Target) as target:
        topics = dict(target.ask("topics"))
    domain = domains(1)[0]
    with Side(domain, Driver) as driver, _robot(domain, one_container) as containers:
        driver.ask("wait_for_subscribers")
        print(
            f"stop without a flood: {_format_times(driver.ask('stops_ms', scale.stops))}",
            flush=True,
        )
        targets = [(*each, 0, tally.stops_ms) for each in topics.items()]
        image_topic = ARGUMENTS["image_topic"]
        largest = (image_topic, topics[image_topic], _LARGEST_IMAGE, tally.stops_beside_largest_ms)
        for topic, message_type, size, stops_ms in [*targets, largest]:
            if topic in COMMAND_TOPICS or topic.startswith(COMPRESSED):
                continue
            with Side(
                domain, Flood, topic, message_type, size, environment=shared_memory()
            ) as flood:
                flood.ask("wait_for_subscribers")
                times_ms, sent = [], 0
                while not times_ms or (size and sent < scale.images):
                    times_ms += driver.ask("stops_ms", scale.stops)
                    sent = flood.ask("sent")
            tally.tried += sent
            stops_ms += times_ms
            size_text = f"with {size / 1e6:.0f} MB each" if size else ""
            print(
                f"stop while {topic} is flooded {size_text}: {_format_times(times_ms)}, "
                f"{sent} messages",
                flush=True,
            )
            for name, process in containers.items():
                if process.poll() is not None:
                    tally.crashes.append(
                        f"{name} ended with {process.returncode} while {topic} was flooded"
                    )
                    return


@contextmanager
def _robot(
    domain: int, one_container: bool = False, extra_arguments: Sequence[str] = ()
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Run the robot's containers as its launch file does; yield their processes by name."""
    arguments = ["--pipeline", PIPELINE]
    for name, value in ARGUMENTS.items():
        arguments += ["--argument", f"{name}:={value}"]
    names = [""] if one_container else list(load_pipeline(PIPELINE).containers)
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                run_program(
                    "component_container",
                    [*arguments, *(("--container", name) if name else ()), *extra_arguments],
                    domain,
                    environment=shared_memory(),
                )
            )
            for name in names
        }


def clocks(tally: Tally, seed: int, scale: Scale) -> None:
    """Drive the robot with faulty clocks."""
    domain = domains(1)[0]
    with (
        Side(domain, Simulation) as simulation,
        _robot(domain, extra_arguments=campaign_clocks.ROS_ARGUMENTS) as containers,
    ):
        _count_results(tally, campaign_clocks.clocks(simulation, seed, scale.clocks))
        for name, process in containers.items():
            if process.poll() is not None:
                tally.crashes.append(f"{name} ended with {process.returncode} with a faulty clock")


def processes(tally: Tally, seed: int, scale: Scale) -> None:
    """Send signals, kill processes, and pass invalid files."""
    domain = domains(1)[0]
    _count_results(tally, campaign_processes.signals(seed, scale.signals, domain))
    with Side(domain, Driver) as driver:

        def has_recovered() -> None:
            driver.ask("wait_for_subscribers")
            driver.ask("stops_ms", 1)

        _count_results(tally, campaign_processes.kills(seed, scale.kills, domain, has_recovered))
    _count_results(tally, campaign_processes.bad_files(seed, scale.files))


def utterances(tally: Tally, seed: int, scale: Scale) -> None:
    """Say commands after a cut-off negation, and every stop word; needs a speech synthesizer."""
    missing = list_missing_programs(VOICES)
    for line in missing:
        print(line)
    if not missing:
        _count_results(tally, campaign_utterances.run_utterances(seed, scale.utterances))


def _count_results(tally: Tally, results: Iterable[campaign_processes.TrialResult]) -> None:
    for result in results:
        tally.tried += 1
        if result.problem:
            print(f"{result.what}: {result.problem}", flush=True)
            is_hang = result.problem.startswith("it took")
            (tally.hangs if is_hang else tally.wrong).append(f"{result.what}: {result.problem}")


def _format_times(times_ms: Sequence[float]) -> str:
    return f"p50 {np.percentile(times_ms, 50):.1f} ms, longest {max(times_ms):.1f} ms"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign, print its results and return the exit status."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="seed of the random trials")
        parser.add_argument(
            "--part", choices=_PARTS, action="append", help="run only this part; repeatable"
        )

    report = Report("campaign", argv, __doc__, add)
    scale, seed = QUICK if report.quick else Scale(), report.arguments.seed
    tally = Tally()
    parts: dict[str, Callable[[], None]] = {
        "messages": lambda: messages(tally, seed, scale),
        "floods": lambda: floods(tally, scale),
        "clocks": lambda: clocks(tally, seed, scale),
        "processes": lambda: processes(tally, seed, scale),
        "utterances": lambda: utterances(tally, seed, scale),
    }
    chosen = report.arguments.part or _PARTS
    for name in chosen:
        started = time.monotonic()
        parts[name]()
        report.figure(f"{name} took", time.monotonic() - started, "s")
    for problem in (*tally.crashes, *tally.hangs, *tally.wrong):
        print(f"problem: {problem}")
    report.figure("tried", tally.tried)
    if "messages" in chosen:
        report.figure("valid messages that a stage dropped by its rules", tally.dropped)
        report.claim("campaign-lost-beyond-policy", tally.lost, at_most=0)
    if tally.tried:
        report.claim("campaign-crashes", len(tally.crashes), at_most=0)
        report.claim("campaign-hangs", len(tally.hangs), at_most=0)
        report.claim("campaign-wrong-results", len(tally.wrong), at_most=0)
    if tally.peak_mib:
        report.claim("campaign-memory-of-a-message-mib", tally.peak_mib, at_most=MEMORY_BOUND_MIB)
    for claim, stops_ms in (
        ("campaign-stop-p99-ms", tally.stops_ms),
        ("campaign-stop-beside-largest-image-p99-ms", tally.stops_beside_largest_ms),
    ):
        if stops_ms:
            report.claim(claim, float(np.percentile(stops_ms, 99)), at_most=2 * _CYCLE_MS)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

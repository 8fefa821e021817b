"""A hostile campaign against the running product: what a stranger sends, floods, kills and leaves.

Messages: mutated ones, first bytes too, into every subscription of the robot's pipelines, and the
worst single messages, with the memory that they take. Floods: every topic in turn by a process
of its own, while another has the robot drive and says stop. Clocks: a simulation's, which stands
still, crawls, jumps or runs back while the robot drives. Processes: signals and kills at any moment
of a start, and files that nobody should read. Words: spoken commands that a pause takes back, and
the words for stop; what the recogniser mishears counts as wrong, too. It ends with what was tried,
survived and got wrong; the nodes' diagnostics tell what a message is refused for.
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
from benchmarks.campaign_flood import ITS_OWN, Driver, Flood
from benchmarks.campaign_messages import ARGUMENTS, COMPRESSED, PIPELINE, Target
from benchmarks.campaign_utterances import VOICES
from benchmarks.programs import run_program
from benchmarks.report import Report
from benchmarks.sides import Side, domains, shared_memory
from benchmarks.voice_audio import list_missing_programs
from edge_inference.composition.pipeline import load_pipeline

_MUTATIONS = 3000
_CYCLE_MS = 40.0  # the command node's usual control cycle
#: What one message may take above what was there.
MEMORY_BOUND_MIB = 512.0
#: An image that is larger than any camera's, in bytes.
_LARGEST_IMAGE = 190_000_000
_PARTS = ("messages", "floods", "clocks", "processes", "words")


@dataclass
class Tally:
    """What a campaign has come to."""

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
class Effort:
    """How much is tried."""

    mutations: int = _MUTATIONS
    stops: int = 20
    images: int = 20
    clocks: int = len(SHAPES)
    signals: int = 20
    kills: int = 5
    files: int = 100
    words: int = 36


QUICK = Effort(mutations=500, stops=3, images=3, clocks=4, signals=4, kills=1, files=12, words=6)


def messages(tally: Tally, seed: int, effort: Effort) -> None:
    """Give every subscription mutated messages, and the worst ones; look what still works."""
    index, topics = 0, None
    while topics is None or index < len(topics):
        try:
            with Side(domains(1)[0], Target) as target:
                topics = target.ask("topics")
                while index < len(topics):
                    _attack(tally, target, index, topics[index][0], seed, effort)
                    index += 1
        except (RuntimeError, BrokenPipeError, ConnectionResetError) as error:
            if topics is None:
                raise
            tally.crashes.append(f"{topics[index][0]}: {error}")
            index += 1


def _attack(tally: Tally, target: Side, index: int, topic: str, seed: int, effort: Effort) -> None:
    for method, arguments in (
        ("attack", (index, seed + index, effort.mutations)),
        ("bomb", (index,)),
    ):
        taken = target.ask(method, *arguments)
        tally.tried += taken.tried
        tally.peak_mib = max(tally.peak_mib, taken.peak_mib)
        if taken.slowest_s > campaign_processes.HANG_S:
            tally.hangs.append(f"{topic}: {method}: {taken.slowest_s:.1f} s")
        print(
            f"{topic}: {method}: {taken.tried} tried, slowest {taken.slowest_s * 1e3:.0f} ms, "
            f"memory +{taken.peak_mib:.0f} MiB",
            flush=True,
        )
    tally.wrong += [f"after {topic}: {problem}" for problem in target.ask("wrong")]
    dropped, lost = target.ask("lost")
    tally.dropped += dropped
    tally.lost += lost
    if lost:
        print(f"after {topic}: {lost} good messages were lost, and no stage tells why", flush=True)


def floods(tally: Tally, effort: Effort, *, one_container: bool = False) -> None:
    """Flood every topic in turn while the robot drives and is told to stop.

    The robot is in the containers that its launch file starts, or in one.
    """
    with Side(domains(1)[0], Target) as target:
        topics = dict(target.ask("topics"))
    domain = domains(1)[0]
    with Side(domain, Driver) as driver, _robot(domain, one_container) as containers:
        driver.ask("wait_until_heard")
        print(f"stop without a flood: {_shown(driver.ask('stops_ms', effort.stops))}", flush=True)
        wanted = [(*each, 0, tally.stops_ms) for each in topics.items()]
        image_topic = ARGUMENTS["image_topic"]
        largest = (image_topic, topics[image_topic], _LARGEST_IMAGE, tally.stops_beside_largest_ms)
        for topic, message_type, size, stops_ms in [*wanted, largest]:
            if topic in ITS_OWN or topic.startswith(COMPRESSED):
                continue
            with Side(
                domain, Flood, topic, message_type, size, environment=shared_memory()
            ) as flood:
                flood.ask("wait_until_heard")
                took, sent = [], 0
                while not took or (size and sent < effort.images):
                    took += driver.ask("stops_ms", effort.stops)
                    sent = flood.ask("sent")
            tally.tried += sent
            stops_ms += took
            how = f"with {size / 1e6:.0f} MB each" if size else ""
            print(
                f"stop while {topic} is flooded {how}: {_shown(took)}, {sent} messages", flush=True
            )
            for name, process in containers.items():
                if process.poll() is not None:
                    tally.crashes.append(f"{name} ended with {process.returncode} under {topic}")
                    return


@contextmanager
def _robot(
    domain: int, one_container: bool = False, more: Sequence[str] = ()
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Run the robot's containers as its launch file does; give their processes by name."""
    arguments = ["--pipeline", PIPELINE]
    for name, value in ARGUMENTS.items():
        arguments += ["--argument", f"{name}:={value}"]
    names = [""] if one_container else list(load_pipeline(PIPELINE).containers)
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                run_program(
                    "component_container",
                    [*arguments, *(("--container", name) if name else ()), *more],
                    domain,
                    environment=shared_memory(),
                )
            )
            for name in names
        }


def clocks(tally: Tally, seed: int, effort: Effort) -> None:
    """Have the robot drive by clocks that no driver should go by."""
    domain = domains(1)[0]
    with (
        Side(domain, Simulation) as simulation,
        _robot(domain, more=campaign_clocks.ROS_ARGUMENTS) as containers,
    ):
        _judge(tally, campaign_clocks.clocks(simulation, seed, effort.clocks))
        for name, process in containers.items():
            if process.poll() is not None:
                tally.crashes.append(f"{name} ended with {process.returncode} by its clock")


def processes(tally: Tally, seed: int, effort: Effort) -> None:
    """Send signals, kill, and hand over files that are none."""
    domain = domains(1)[0]
    _judge(tally, campaign_processes.signals(seed, effort.signals, domain))
    with Side(domain, Driver) as driver:

        def has_recovered() -> None:
            driver.ask("wait_until_heard")
            driver.ask("stops_ms", 1)

        _judge(tally, campaign_processes.kills(seed, effort.kills, domain, has_recovered))
    _judge(tally, campaign_processes.bad_files(seed, effort.files))


def words(tally: Tally, seed: int, effort: Effort) -> None:
    """Say commands that are cut off, and every word for stop, where a synthesiser is installed."""
    lacking = list_missing_programs(VOICES)
    for line in lacking:
        print(line)
    if not lacking:
        _judge(tally, campaign_utterances.run_utterances(seed, effort.words))


def _judge(tally: Tally, outcomes: Iterable[campaign_processes.Outcome]) -> None:
    for outcome in outcomes:
        tally.tried += 1
        if outcome.problem:
            print(f"{outcome.what}: {outcome.problem}", flush=True)
            is_hang = outcome.problem.startswith("it took")
            (tally.hangs if is_hang else tally.wrong).append(f"{outcome.what}: {outcome.problem}")


def _shown(times_ms: Sequence[float]) -> str:
    return f"p50 {np.percentile(times_ms, 50):.1f} ms, longest {max(times_ms):.1f} ms"


def main(argv: Sequence[str] | None = None) -> int:
    """Try, print, and return the exit status."""

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1, help="of what is drawn")
        parser.add_argument("--part", choices=_PARTS, action="append", help="only this; repeatable")

    report = Report("campaign", argv, __doc__, add)
    effort, seed = QUICK if report.quick else Effort(), report.arguments.seed
    tally = Tally()
    parts: dict[str, Callable[[], None]] = {
        "messages": lambda: messages(tally, seed, effort),
        "floods": lambda: floods(tally, effort),
        "clocks": lambda: clocks(tally, seed, effort),
        "processes": lambda: processes(tally, seed, effort),
        "words": lambda: words(tally, seed, effort),
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
        report.figure("good messages that a stage dropped by its rules", tally.dropped)
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

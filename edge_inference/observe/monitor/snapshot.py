"""What is known of a running robot at one moment; None is unknown.

Every row is plain data, so that ``dataclasses.asdict`` makes JSON of it. Times of events are
seconds of the system clock since 1970; durations have their unit in their name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_inference.core.runtime.latency import Percentiles


@dataclass(frozen=True)
class StageRow:
    """A stage of the pipeline, over the window of the latency report.

    ``drops`` are frames since the start by reason; ``silent_s`` is the time since the newest report
    with a new frame of this stage.
    """

    stage: str
    node: str
    rate_hz: float
    count: int
    process: Percentiles
    queue: Percentiles
    transport: Percentiles
    age: Percentiles
    device: Percentiles
    drops: dict[str, int]
    deadline_misses: int
    clock_faults: dict[str, int]
    silent_s: float


@dataclass(frozen=True)
class EndRow:
    """From capture to the end of publishing by a last stage; ``whole`` is since the start."""

    stage: str
    node: str
    count: int
    recent: Percentiles
    whole: Percentiles
    deadline_misses: int


@dataclass(frozen=True)
class ProcessRow:
    """A process of the pipeline.

    ``cpu_share`` is of one core, ``lock_ms_per_s`` the time for which another thread held the
    interpreter's lock, ``age_s`` that of the figures.
    """

    pid: int
    nodes: tuple[str, ...]
    cpu_share: float
    memory_mib: float
    lock_ms_per_s: float
    run_queue_ms_per_s: float
    age_s: float


@dataclass(frozen=True)
class EngineRow:
    """What an inference node runs, and within which limits.

    ``preparing`` is the engine in preparation, ``progress`` (0 to 1) how far it is. ``level`` is
    that of the directive in force (full, reduced, minimum, failsafe); ``max_rate_hz`` None is no
    limit.
    """

    node: str
    model: str
    backend: str
    precision: str
    engine: str
    preparing: str
    progress: float | None
    problem: str
    batch: int | None = None
    rate_hz: float | None = None
    demand_hz: float | None = None
    max_rate_hz: float | None = None
    precision_ceiling: str = ""
    level: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ReadingRow:
    """A sensor: ``value`` in ``unit`` (UCUM); ``text`` is for people, or why it is unknown."""

    name: str
    quantity: str
    value: float | None
    unit: str
    text: str
    status: str
    role: str
    limit: float | None = None


@dataclass(frozen=True)
class PlatformRow:
    """The machine; ``source`` says whose sensors they are: a topic, or this machine's own.

    ``cpu_share`` and ``gpu_share`` are of all cores and of the GPU.
    """

    board: str
    mode: str
    level: str
    reason: str
    headroom: float | None
    power_w: float | None
    hottest_c: float | None
    hottest_name: str
    cpu_share: float | None
    gpu_share: float | None
    memory_share: float | None
    throttling: tuple[str, ...]
    problem: str
    readings: tuple[ReadingRow, ...]
    source: str
    age_s: float


@dataclass(frozen=True)
class TargetRow:
    """A target: its ``verdict`` is PASS, FAIL, INCONCLUSIVE or NOT MEASURED."""

    scenario: str
    label: str
    verdict: str
    message: str
    value: float | None
    bound: float | None
    required: bool


@dataclass(frozen=True)
class HealthRow:
    """The status of a node on /diagnostics; ``level`` is ok, warn, error or stale."""

    name: str
    level: str
    message: str
    age_s: float


@dataclass(frozen=True)
class VoiceRow:
    """The newest of each step of the voice pipeline; empty where there was none."""

    transcript: str = ""
    is_final: bool = False
    intents: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    state: str = ""
    said: str = ""
    problem: str = ""
    at_s: float | None = None


@dataclass(frozen=True)
class ResultRow:
    """The newest result of one kind, as lines for people; ``topic`` is its full name."""

    topic: str
    kind: str
    model: str
    lines: tuple[str, ...]
    age_s: float


@dataclass(frozen=True)
class Decision:
    """Something that the robot, or its user, has changed: ``int8 since: 78 °C``.

    ``kind`` is engine, limit, level, health, target, pipeline or parameter.
    """

    at_s: float
    kind: str
    subject: str
    text: str


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment.

    ``status`` is empty while a pipeline is observed, else a sentence that says why none is, and
    what to do. ``namespaces`` are those in which pipelines run; ``namespace`` is the observed one.
    """

    at_s: float
    namespace: str
    namespaces: tuple[str, ...] = ()
    status: str = ""
    window_s: float | None = None
    deadline_ms: float | None = None
    stages: tuple[StageRow, ...] = ()
    ends: tuple[EndRow, ...] = ()
    processes: tuple[ProcessRow, ...] = ()
    engines: tuple[EngineRow, ...] = ()
    platform: PlatformRow | None = None
    targets: tuple[TargetRow, ...] = ()
    health: tuple[HealthRow, ...] = ()
    voice: VoiceRow = field(default_factory=VoiceRow)
    results: tuple[ResultRow, ...] = ()
    decisions: tuple[Decision, ...] = ()

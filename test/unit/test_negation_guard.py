"""A command of any length after a negation and a pause is blocked."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.core.voice import ActionPlan, ActionStep, Transcript
from edge_inference.speech.actions.limits import PlanLimits, VoiceLimits
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.language.stop_phrases import STOP_WORDS, is_rejection
from edge_inference.speech.language.understanding import Understanding, UnderstandingSettings
from edge_inference.speech.planning.motion import Motion

GRAMMAR = read_grammar(Path(__file__).parents[2] / "config" / "voice" / "grammar.yaml")
LIMITS = VoiceLimits(plan=PlanLimits(actions=("move", "look", "stop"), max_age_s=60.0))
S = 1_000_000_000
BEGUN = 100 * S
COMMAND = "go forward two meters"
#: Delay from the end of speech to its transcript.
HEARD = int(0.5 * S)

CUT_OFF = ["Don't.", "do not", "please don't", "If I say so,", "unless I tell you", "Never"]
PAUSES = [(0.2, True), (0.8, True), (1.4, True), (1.6, False), (5.0, False)]


def transcript(text: str, begun_s: float, seconds: float, is_final: bool = True) -> Transcript:
    start_ns = BEGUN + int(begun_s * S)
    return Transcript(
        text, 0.9, "command", start_ns + int(seconds * S), is_final, start_ns=start_ns
    )


def command(pause_s: float, seconds: float = 2.5) -> Transcript:
    """Return a command that begins this long after one second of other speech."""
    return transcript(COMMAND, 1.0 + pause_s, seconds)


@pytest.mark.parametrize(("pause_s", "is_held_back"), PAUSES)
@pytest.mark.parametrize("text", CUT_OFF)
def test_command_after_a_negation_is_blocked(text: str, pause_s: float, is_held_back: bool) -> None:
    understanding = Understanding(GRAMMAR)
    understanding.parse(transcript(text, 0.0, 1.0))
    meant = understanding.parse(command(pause_s))
    assert meant.names == (() if is_held_back else ("move",))
    assert ("I heard" in meant.problem) is is_held_back


def test_negation_outside_the_grammar_blocks_too() -> None:
    understanding = Understanding(GRAMMAR)
    problem = "that is none of the phrases"
    beside = Transcript("Don't.", 0.4, "command", BEGUN + S, problem=problem, start_ns=BEGUN)
    assert understanding.parse(beside).problem == problem
    assert understanding.parse(command(0.8)).names == ()


@pytest.mark.parametrize(
    ("text", "name"), [("stop", "stop"), ("what do you see", "look"), ("no", "deny")]
)
def test_motionless_intents_are_not_blocked(text: str, name: str) -> None:
    understanding = Understanding(GRAMMAR)
    understanding.parse(transcript("don't", 0.0, 1.0))
    assert understanding.parse(transcript(text, 1.8, 1.0)).names == (name,)


def test_yes_is_blocked_too() -> None:
    understanding = Understanding(GRAMMAR)
    understanding.parse(transcript("don't", 0.0, 1.0))
    assert understanding.parse(transcript("yes", 1.8, 0.5)).names == ()


@pytest.mark.parametrize("text", ["yeah", "okay"])
def test_yes_outside_the_grammar_is_blocked_too(text: str) -> None:
    understanding = Understanding(GRAMMAR)
    assert understanding.parse(transcript(text, -20.0, 0.5)).source == "unknown"
    understanding.parse(transcript("don't", 0.0, 1.0))
    meant = understanding.parse(transcript(text, 1.8, 0.5))
    assert (meant.names, meant.source) == ((), "grammar")
    assert "I heard" in meant.problem


def test_yes_with_low_confidence_is_not_unknown() -> None:
    strict = Understanding(GRAMMAR, UnderstandingSettings(min_confidence=0.95))
    assert [strict.parse(transcript(text, 0.0, 0.5)).source for text in ("yeah", "okay")] == [
        "grammar",
        "grammar",
    ]


def test_repeated_command_is_accepted() -> None:
    understanding = Understanding(GRAMMAR)
    understanding.parse(transcript("don't", 0.0, 1.0))
    assert understanding.parse(command(0.5)).names == ()
    assert understanding.parse(transcript(COMMAND, 7.0, 2.0)).names == ("move",)


class Robot:
    """Motion, and the clock of motion and speaker."""

    def __init__(self) -> None:
        self.now_ns = BEGUN
        self.motion = Motion(LIMITS, steady_ns=lambda: self.now_ns)

    def observe(self, transcript: Transcript, known: bool) -> None:
        self.now_ns = max(self.now_ns, transcript.stamp_ns + HEARD)
        start_ns = transcript.start_ns if known else 0
        observed = Transcript(
            transcript.text,
            0.9,
            "command",
            transcript.stamp_ns,
            transcript.is_final,
            start_ns=start_ns,
        )
        self.motion.command(self.now_ns)
        self.motion.observe(observed, self.now_ns)

    def plan(self, transcript: Transcript) -> str:
        step = ActionStep("move", distance_m=1.0, speed_mps=0.4)
        self.motion.begin(ActionPlan("move", (step,), transcript.stamp_ns), self.now_ns)
        return self.motion.feedback(self.now_ns).problem


@pytest.mark.parametrize(
    ("pause_s", "is_held_back"), [(0.2, True), (1.4, True), (2.1, False), (5.0, False)]
)
def test_robot_does_not_move_after_a_negation(pause_s: float, is_held_back: bool) -> None:
    """Motion blocks the plan of any planner."""
    robot = Robot()
    robot.observe(transcript("don't", 0.0, 1.0), known=True)
    robot.observe(command(pause_s), known=True)
    assert ("I heard" in robot.plan(command(pause_s))) is is_held_back


@pytest.mark.parametrize(("pause_s", "is_held_back"), [(0.2, True), (0.8, True), (5.0, False)])
def test_partial_texts_count_without_a_start_time(pause_s: float, is_held_back: bool) -> None:
    robot = Robot()
    robot.observe(transcript("don't", 0.0, 1.0), known=False)
    for seconds in (0.1, 1.0, 1.8):
        robot.observe(transcript("go forward", 1.0 + pause_s, seconds, is_final=False), known=False)
    robot.observe(command(pause_s), known=False)
    assert ("I heard" in robot.plan(command(pause_s))) is is_held_back
    robot.observe(transcript(COMMAND, 12.0, 2.0), known=False)
    assert robot.plan(transcript(COMMAND, 12.0, 2.0)) == ""


def test_speech_truncated_by_a_gap_may_be_a_negation() -> None:
    robot = Robot()
    robot.observe(transcript("", 0.0, 0.4, is_final=False), known=True)
    robot.observe(transcript("go forward", 1.0, 0.6, is_final=False), known=True)
    robot.observe(transcript(COMMAND, 1.0, 2.0), known=True)
    assert "I heard 'something that a gap" in robot.plan(transcript(COMMAND, 1.0, 2.0))


@pytest.mark.parametrize(("pause_s", "is_held_back"), [(0.3, True), (5.0, False)])
def test_unreadable_transcript_may_be_a_negation(pause_s: float, is_held_back: bool) -> None:
    robot = Robot()
    robot.motion.observe_unreadable(robot.now_ns)
    robot.observe(transcript(COMMAND, pause_s, 2.0), known=True)
    assert ("something that I cannot read" in robot.plan(transcript(COMMAND, pause_s, 2.0))) is (
        is_held_back
    )


def test_unfinished_speech_blocks_only_briefly() -> None:
    robot = Robot()
    robot.observe(transcript("", 0.0, 0.4, is_final=False), known=True)
    robot.observe(transcript(COMMAND, 8.0, 2.0), known=True)
    assert robot.plan(transcript(COMMAND, 8.0, 2.0)) == ""


def test_negation_in_a_partial_text_blocks_even_if_later_texts_lack_it() -> None:
    robot = Robot()
    robot.observe(transcript("do not", 0.0, 0.4, is_final=False), known=True)
    robot.observe(transcript("do", 0.0, 0.6), known=True)
    robot.observe(command(0.5), known=True)
    assert "I heard 'do not'" in robot.plan(command(0.5))


@pytest.mark.parametrize("stamp_ns", [0, BEGUN - 60 * S, BEGUN + 60 * S])
def test_arrival_time_of_a_negation_counts_not_its_stamp(
    stamp_ns: int,
) -> None:
    robot = Robot()
    robot.motion.observe(Transcript("don't", 0.9, "free", stamp_ns), robot.now_ns)
    later = transcript(COMMAND, 0.8, 2.5)
    robot.observe(later, known=True)
    assert "I heard" in robot.plan(later)


def test_each_of_several_commands_is_blocked() -> None:
    robot = Robot()
    robot.observe(transcript("don't", 0.0, 1.0), known=True)
    first, second = transcript(COMMAND, 1.5, 1.0), transcript("turn left", 3.5, 0.6)
    robot.observe(first, known=True)
    robot.observe(second, known=True)
    assert "I heard" in robot.plan(first)
    assert "I heard" in robot.plan(second)


@pytest.mark.parametrize(
    "text",
    [
        "you mustn't",
        "it isn't",
        "do n't",
        "don\u02bct",
        "don\u00b4t",
        "avoid that",
        "nobody should",
    ],
)
def test_other_negations_block_too(text: str) -> None:
    robot = Robot()
    robot.observe(transcript(text, 0.0, 1.0), known=True)
    robot.observe(command(0.5), known=True)
    assert "I heard" in robot.plan(command(0.5))


@pytest.mark.parametrize(
    ("begun_s", "text", "is_retracted"),
    [
        (-3.0, "don't", True),  # the transcript arrives after the plan started
        (-3.0, "if I say so", True),
        (0.0, "only if I say so", True),
        (1.4, "unless I tell you", True),
        (1.6, "unless I tell you", False),
        (1.4, "never mind", True),
        (60.0, "never mind", True),  # a rejection counts at any time
        (0.5, "don't stop", False),
        (0.5, "do not wait if I stop", False),
        (0.5, "what do you see", False),
    ],
)
def test_current_plan_is_retracted_by_a_related_negation(
    begun_s: float, text: str, is_retracted: bool
) -> None:
    robot = Robot()
    plan = command(4.0)
    robot.observe(plan, known=True)
    assert robot.plan(plan) == ""
    spoken = transcript(text, (plan.stamp_ns - BEGUN) / S + begun_s, 0.5)
    assert robot.motion.is_retracted(spoken, STOP_WORDS) is is_retracted
    robot.motion.stop(robot.now_ns)
    assert robot.motion.is_retracted(spoken, STOP_WORDS) is is_rejection(text)


def test_text_without_a_stamp_retracts_only_by_a_rejection() -> None:
    robot = Robot()
    robot.observe(command(4.0), known=True)
    robot.plan(command(4.0))
    for text, is_retracted in (("if I say so", False), ("don't", True)):
        spoken = Transcript(text, 0.9, "free", 0)
        assert robot.motion.is_retracted(spoken, STOP_WORDS) is is_retracted

"""A step to look is answered once, from the results of perception."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_inference.composition.bus import Publisher
from edge_inference.core.voice import (
    ActionPlan,
    ActionStep,
    Intent,
    IntentArray,
    IntentSlot,
    Transcript,
)
from edge_inference.nodes.component import RELIABLE
from edge_inference.nodes.conversions.voice import (
    ActionPlanAdapter,
    IntentArrayAdapter,
    TranscriptAdapter,
)
from perception_rig import Pipeline
from rig import Outside, Rig, wait_for
from wave_rig import ACTION_ENTRY, wave, write_limits

DETECTIONS = "/ai/detections"
BLIND = f"I cannot see: no detections arrive on {DETECTIONS}."
# The one person in models/nanodet/golden/astronaut.jpg is from here to there, in pixels.
PERSON = (8.6, 265.9)


@pytest.fixture
def publish(rig: Rig):
    """Publish plans, intents and transcripts that were said just now."""
    node = rig.container.node
    plans, intents, words = rig.call(
        lambda: (
            Publisher(node, ActionPlanAdapter(), "/ai/action_plan", RELIABLE),
            Publisher(node, IntentArrayAdapter(), "/ai/intent", RELIABLE),
            Publisher(node, TranscriptAdapter(), "/ai/transcript", RELIABLE),
        )
    )

    class Publish:
        def plan(self, *steps: ActionStep) -> None:
            plans.publish(ActionPlan("test", steps, node.get_clock().now().nanoseconds))

        def intents(self, *names: str, **slots: str) -> None:
            made = {key: IntentSlot(key, value) for key, value in slots.items()}
            now_ns = node.get_clock().now().nanoseconds
            spoken = tuple(Intent(name, made) for name in names)
            intents.publish(IntentArray(spoken, 0.9, "look", "grammar", now_ns))

        def words(self, text: str) -> None:
            words.publish(Transcript(text, 0.9, "command", node.get_clock().now().nanoseconds))

    return Publish()


def perception(rig: Rig, **parameters) -> Pipeline:
    """Perception that has seen the astronaut twice."""
    pipeline = Pipeline(rig, model="nanodet", **parameters)
    for _ in range(2):
        assert pipeline.next(pipeline.detections).label(0) == "person"
    return pipeline


def test_the_answer_is_what_the_detector_found(rig: Rig, publish) -> None:
    """From the words "what do you see" to a sentence, through all nodes."""
    said = rig.tap("/ai/say")
    rig.load("SceneReporter", max_age_s=600.0)
    for plugin in ("Command", "Planner", "IntentParser"):
        rig.load(plugin)
    publish.words("what do you see")
    assert said.wait() == [BLIND]
    pipeline = perception(rig)
    found = {pipeline.detections[-1].label(i) for i in range(len(pipeline.detections[-1]))}
    assert found == {"person"}
    publish.words("what do you see")
    assert said.wait(2)[1] == "I see a person."
    publish.words("do you see the cup")
    assert said.wait(3)[2] == "I see no cup."
    publish.words("where is the box")
    assert said.wait(4)[3] == "I do not know what a box looks like."
    assert len(said) == 4


def test_where_a_thing_is(rig: Rig, publish, tmp_path: Path) -> None:
    said = rig.tap("/ai/say")
    limits = tmp_path / "limits.yaml"
    limits.write_text("plan: {things: [person]}")
    rig.load("SceneReporter", max_age_s=600.0)
    rig.load("Command", limits=str(limits))
    width = perception(rig).image.shape[1]
    assert width / 3 < sum(PERSON) / 2 < width * 2 / 3
    publish.plan(ActionStep("look", target="person"))
    assert said.wait() == ["Ahead I see a person."]


def test_the_step_is_answered_when_it_begins(rig: Rig, publish) -> None:
    said, velocities = rig.tap("/ai/say"), rig.tap("/cmd_vel")
    rig.load("SceneReporter", max_age_s=600.0)
    rig.load("Command")
    publish.plan(
        ActionStep("move", distance_m=0.05, speed_mps=0.25), ActionStep("look"), ActionStep("look")
    )
    said.wait(2)
    assert [*said] == [BLIND, BLIND]
    assert any(velocity.linear_mps for velocity in velocities)
    assert velocities[-1].linear_mps == 0.0


def test_an_action_of_a_package_looks_too(rig: Rig, publish, install_wave, tmp_path: Path) -> None:
    install_wave(ACTION_ENTRY, name="scene", row=", moves_robot=False")
    said = rig.tap("/ai/say")
    rig.load("SceneReporter", max_age_s=600.0)
    rig.load("Command", limits=write_limits(tmp_path))
    publish.plan(wave(1.0))
    assert said.wait() == [BLIND]


def test_plans_without_a_step_to_look_are_not_answered(rig: Rig, publish) -> None:
    said, feedback = rig.tap("/ai/say"), rig.tap("/ai/command_feedback")
    rig.load("SceneReporter", max_age_s=600.0)
    rig.load("Command")
    publish.plan(ActionStep("turn", angle_rad=0.02, rate_radps=0.5))
    wait_for(lambda: feedback and feedback[-1].state.value == "done", "the turn")
    publish.plan(ActionStep("pick", target="cup"))
    assert "pick" in said.wait()[0]  # only command answers, with a refusal
    assert feedback[-1].state.value == "refused"
    assert len(said) == 1


def test_the_planner_does_not_answer_a_step_to_look(rig: Rig, publish) -> None:
    said, plans = rig.tap("/ai/say"), rig.tap("/ai/action_plan")
    rig.load("Planner")
    publish.intents("look")
    publish.intents("look", thing="cup")
    publish.intents("look", thing="unicorn")
    publish.intents("look", "stop")
    plans.wait(4)
    assert said.wait() == ["looking, then stopping"]


def test_the_model_may_be_a_classifier(rig: Rig, publish) -> None:
    said = rig.tap("/ai/say")
    rig.load("SceneReporter", min_score=0.0, max_age_s=600.0)
    rig.load("Command")
    pipeline = Pipeline(rig, model="efficientnet_lite0")
    labels = [pipeline.next(pipeline.classes).label(0) for _ in range(2)]
    publish.plan(ActionStep("look"))
    (words,) = said.wait()
    assert words.startswith("This looks like a") and words.endswith(f" {labels[0]}.")


def test_perception_in_another_process(rig: Rig, outside: Outside) -> None:
    """Messages of other processes, stamped as they come or not at all."""
    node = rig.load("SceneReporter", max_age_s=600.0)
    received = outside.listen("/ai/say", "std_msgs/String")
    rig.wait_for_subscribers(node, "/ai/say")
    see = outside.speak(DETECTIONS, *detection_message())
    rig.wait_for_publishers(node, DETECTIONS)
    for _ in range(2):
        see(**one_dog())
    wait_for(lambda: node.health.status(0).values["processed"] == "2", "two images")
    ask = outside.speak("/ai/command_feedback", "edge_inference/CommandFeedback")
    rig.wait_for_publishers(node, "/ai/command_feedback")
    look = {"state": "waiting", "step": {"action": "look", "target": "dog"}}
    ask(**look)
    ask(**look, problem="the same step")
    ask(**look, index=1)
    received.wait(2)
    assert [each["data"] for each in received] == ["I see a dog.", "I see a dog."]


def detection_message() -> tuple[str]:
    try:
        import vision_msgs.msg  # noqa: F401
    except ImportError:
        return ("edge_inference/DetectionArray",)
    return ("vision_msgs/Detection2DArray",)


def one_dog() -> dict:
    if detection_message() == ("edge_inference/DetectionArray",):
        return {"detections": [{"class_id": 16, "label": "dog", "score": 0.9}]}
    hypothesis = {"hypothesis": {"class_id": "dog", "score": 0.9}}
    return {"detections": [{"results": [hypothesis]}]}


def test_a_file_that_is_not_there(rig: Rig) -> None:
    component = rig.load_component("SceneReporter", names="/no/scene.yaml")
    assert component.failure == "did not configure"
    assert "/no/scene.yaml" in component.node.health.status(0).message

"""Which model a stage follows to: by reference any, from outside a name on its own path."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter

from edge_inference.composition.reception import Reception
from edge_inference.core.inference_state import InferenceState
from edge_inference.nodes.perception import model_settings
from perception_rig import LEADER, Pipeline, state
from rig import Outside, Rig, wait_for
from rig import later as time_passes

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    return time_passes(monkeypatch, model_settings)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with the model ``mine``, outside the default search path."""
    shutil.copytree(MODELS / "efficientnet_lite0", tmp_path / "mine")
    return tmp_path


class Stages:
    """Preprocess and decode without an inference node; the test passes states to them."""

    def __init__(self, rig: Rig, **parameters: Any) -> None:
        self.rig = rig
        self.nodes = [rig.load(plugin, **parameters) for plugin in ("Preprocess", "Decode")]

    def receive(self, *states: InferenceState, by_reference: bool = False) -> None:
        for each in states:
            for node in self.nodes:
                self.rig.call(
                    lambda n=node, s=each: n._follower.on_state(s, Reception(by_reference))
                )

    @property
    def models(self) -> set[tuple[str, str]]:
        found = [node.parameters.current for node in self.nodes]
        return {(each.model, each.model_path) for each in found}

    @property
    def model(self) -> str:
        ((model, _),) = self.models
        return model

    def errors(self) -> list[str]:
        taken = [error for node in self.nodes for error in node.health.take_errors()]
        assert {reason for reason, _ in taken} <= {"model"}
        return [message for _, message in taken]


NO_NAMES = (
    *("{mine}/mine", "../mine", "./mine", "mine/", "~/mine", ".", "..", "a..b", ".mine", "a\\b"),
    *("a\0b", "a\nb", "", "x" * 300),
)


def test_from_outside_no_path_is_followed(rig: Rig, mine: Path) -> None:
    stages = Stages(rig)
    stages.receive(state("nanodet"))
    for model in NO_NAMES:
        stages.receive(state(model.format(mine=mine), previous="nanodet", name="mine"))
        assert stages.models == {("nanodet", "")}
        first, second = stages.errors()
        assert "InferenceState of '/ai/inference': expected a model name" in first
        assert "/ai/preprocess" in first
        assert "/ai/decode" in second
        assert len(first) < 600


def test_a_name_from_outside_is_searched_only_on_the_own_path(rig: Rig, mine: Path) -> None:
    stages = Stages(rig)
    stages.receive(state("mine", previous="nanodet", path=str(mine)))
    assert str(mine) in stages.errors()[0]
    stages.receive(state("mine", previous="nanodet"))
    assert "unknown model 'mine'" in stages.errors()[0]
    assert stages.models == {("nanodet", "")}


@pytest.mark.parametrize("has_path", [True, False])
def test_where_all_have_the_same_path_a_name_is_enough(
    rig: Rig, mine: Path, has_path: bool
) -> None:
    stages = Stages(rig, model_path=str(mine))
    stages.receive(state("mine", previous="nanodet", path=str(mine) if has_path else ""))
    assert stages.errors() == []
    assert stages.models == {("mine", str(mine))}


def test_a_state_without_a_change_is_not_an_error(rig: Rig, mine: Path) -> None:
    stages = Stages(rig, model=str(mine / "mine"))
    stages.receive(state("/else/where/mine", name="mine", previous="nanodet"))
    assert stages.errors() == []


def test_by_reference_a_path_is_followed(rig: Rig, mine: Path) -> None:
    stages = Stages(rig)
    stages.receive(state(str(mine / "mine"), previous="nanodet", name="mine"), by_reference=True)
    assert stages.models == {(str(mine / "mine"), "")}
    stages.receive(state("nanodet", previous="mine"), by_reference=True)
    stages.receive(state("mine", previous="nanodet", path=str(mine)), by_reference=True)
    assert stages.models == {("mine", str(mine))}
    assert stages.errors() == []


@pytest.mark.parametrize(
    ("spoofed_as", "knows_leader"), [(LEADER, True), (LEADER, False), ("/stranger", False)]
)
def test_the_leader_wins_again(
    rig: Rig, later, mine: Path, spoofed_as: str, knows_leader: bool
) -> None:
    stages = Stages(rig, model_path=str(mine))
    real = state("nanodet")
    if knows_leader:
        stages.receive(real)
    spoofs = [
        state("efficientnet_lite0", previous="nanodet", node=spoofed_as),
        state("mine", previous="efficientnet_lite0", node=spoofed_as),
    ]
    stages.receive(*spoofs)
    assert stages.model == "mine"
    later(3.1)  # a stranger whose word was the first is listened to until it is silent
    stages.receive(real, real)
    assert stages.model == "nanodet"
    stages.receive(state("efficientnet_lite0", previous="nanodet"))
    assert stages.model == "efficientnet_lite0"


def test_a_stranger_beside_the_leader_is_not_followed(rig: Rig) -> None:
    stages = Stages(rig)
    stages.receive(state("nanodet"))
    stages.receive(state("efficientnet_lite0", previous="nanodet", node="/stranger"))
    assert stages.model == "nanodet"


def test_a_leader_that_starts_again_is_followed(rig: Rig) -> None:
    stages = Stages(rig)
    stages.receive(state("nanodet"), state("efficientnet_lite0", previous="nanodet"))
    assert stages.model == "efficientnet_lite0"
    stages.receive(state("nanodet"))  # with its parameters, and without a past
    assert stages.model == "nanodet"


def test_what_the_user_has_set_on_a_stage_holds(rig: Rig) -> None:
    stages = Stages(rig)
    stages.receive(state("nanodet"), state("efficientnet_lite0", previous="nanodet"))
    for node in stages.nodes:
        rig.call(lambda n=node: n.set_parameters([Parameter("model", value="nanodet")]))
    stages.receive(state("efficientnet_lite0", previous="something"))
    assert stages.model == "nanodet"


def test_a_path_set_on_inference_is_followed_inside_the_container(
    rig: Rig, outside: Outside, mine: Path
) -> None:
    pipeline = Pipeline(rig, model="nanodet")
    pipeline.next(pipeline.detections)
    values = {"model": str(mine / "mine")}
    assert outside.set_parameters(node=LEADER, values=values) == [[True, ""]]
    wait_for(lambda: pipeline.states[-1].model_name == "mine", "the model in service")
    assert pipeline.next(pipeline.classes).model == "mine"
    assert pipeline.lost() == {}

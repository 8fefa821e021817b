"""Sentences about the scene: objects in enough recent images, with their positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_inference.composition.pipeline import share_folder
from edge_inference.core.results import Classification, Detections
from edge_inference.core.settings import build
from edge_inference.errors import ConfigError
from edge_inference.speech.language.grammar_file import read_grammar
from edge_inference.speech.planning.scene import Scene, SceneSettings
from edge_inference.speech.planning.scene_sentences import SceneNames, format_answer, read_names

SECOND = 1_000_000_000
NOW = 100 * SECOND
LABELS = ("person", "dog", "cup", "sports ball", "orange", "scissors")
NAMES = SceneNames({"sports ball": "ball"}, {"person": "people", "scissors": "scissors"})
TOPIC = "/ai/detections"
LEFT, AHEAD, RIGHT = 50.0, 300.0, 550.0  # centres, in an image 600 pixels wide


def make_image(
    *things: tuple[str, float] | tuple[str, float, float],
    age_s: float = 0.1,
    width: int | None = 600,
    model: str = "m",
) -> Detections:
    """Objects are label, centre and score; best first."""
    return Detections(
        boxes=np.array([[x - 20, 5, x + 20, 50] for _, x, *_ in things], np.float32).reshape(-1, 4),
        scores=np.array([s[0] if (s := thing[2:]) else 0.9 for thing in things], np.float32),
        class_ids=np.array([LABELS.index(thing[0]) for thing in things], np.int32),
        labels=LABELS,
        source_width=width,
        source_height=400 if width else None,
        model=model,
        stamp_ns=NOW - int(age_s * SECOND),
    )


def looks_like(label: str, score: float = 0.9) -> Classification:
    ids = [LABELS.index(label), LABELS.index("orange")]
    return Classification(
        np.array(ids, np.int32), np.array([score, 0.01], np.float32), LABELS, "c", NOW
    )


def answer(
    *results: Detections | Classification,
    target: str = "",
    all_labels: bool = True,
    now_ns: int = NOW,
    **settings: float,
) -> str:
    scene = Scene(NAMES.spoken_name)
    chosen = build(SceneSettings, settings)
    for result in results:
        scene.add(result, NOW, all_labels=all_labels)
    return format_answer(scene.view(now_ns, chosen), target, NAMES, chosen, TOPIC)


@pytest.mark.parametrize("target", ["", "cup"])
def test_missing_detections_are_reported(target: str) -> None:
    assert answer(target=target) == "I cannot see: no detections arrive on /ai/detections."


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([[]] * 2, "I see nothing that I know."),
        ([[("dog", LEFT)]] * 2, "I see a dog."),
        ([[("orange", LEFT)]] * 2, "I see an orange."),
        ([[("scissors", LEFT)]] * 2, "I see scissors."),
        ([[("sports ball", LEFT)]] * 2, "I see a ball."),
        (
            [[("person", LEFT), ("person", RIGHT), ("dog", AHEAD)]] * 2,
            "I see two people and a dog.",
        ),
        (
            [[("dog", LEFT), ("cup", LEFT), ("orange", LEFT)]] * 2,
            "I see a dog, a cup and an orange.",
        ),
        ([[("cup", LEFT)] * 13] * 2, "I see 13 cups."),
    ],
)
def test_what_do_you_see(images: list[list[tuple[str, float]]], words: str) -> None:
    assert answer(*(make_image(*each) for each in images)) == words


@pytest.mark.parametrize(
    ("things", "target", "words"),
    [
        ([], "cup", "I see no cup."),
        ([("dog", LEFT)], "cup", "I see no cup."),
        ([("cup", LEFT)], "cup", "On the left I see a cup."),
        ([("cup", AHEAD)], "cup", "Ahead I see a cup."),
        ([("cup", RIGHT), ("cup", RIGHT)], "cup", "On the right I see two cups."),
        (
            [("cup", RIGHT), ("cup", LEFT), ("cup", RIGHT)],
            "cup",
            "I see three cups: one on the left and two on the right.",
        ),
        ([("sports ball", LEFT)], "ball", "On the left I see a ball."),
        ([("sports ball", LEFT)], "sports_ball", "On the left I see a ball."),
        ([("cup", LEFT)], "box", "I do not know what a box looks like."),
    ],
)
def test_where_is_it(things: list[tuple[str, float]], target: str, words: str) -> None:
    assert answer(make_image(*things), make_image(*things), target=target) == words


def test_messages_name_neither_all_classes_nor_always_the_size() -> None:
    seen = [make_image(("cup", LEFT), width=None)] * 2
    assert answer(*seen, target="cup", all_labels=False) == "I see a cup."
    assert answer(*seen, target="box", all_labels=False) == "I see no box."


def test_object_in_one_image_is_not_reported() -> None:
    dog, nothing = make_image(("dog", LEFT)), make_image()
    assert answer(nothing, dog) == "I see nothing that I know."
    assert answer(nothing, dog, target="dog") == "I see no dog."
    assert answer(dog, nothing, dog) == "I see a dog."
    assert answer(nothing, dog, min_images=1) == "I see a dog."
    assert answer(dog, dog, *[nothing] * 5) == "I see nothing that I know."
    two = make_image(("dog", LEFT), ("dog", RIGHT))
    assert answer(dog, dog, two) == "I see a dog."


def test_too_few_images_are_reported() -> None:
    dog = make_image(("dog", LEFT))
    assert answer(dog) == "I have seen only one image in the last 3 seconds."
    assert answer(dog, dog, min_images=3) == "I have seen only two images in the last 3 seconds."


def test_position_comes_from_the_latest_image() -> None:
    words = answer(make_image(("cup", LEFT)), make_image(("cup", RIGHT)), target="cup")
    assert words == "On the right I see a cup."


def test_old_images_do_not_count() -> None:
    seen = [make_image(("dog", LEFT), age_s=1.0)] * 2
    assert answer(*seen, now_ns=NOW + SECOND) == "I see a dog."
    late = "I have seen no image for 4 seconds."
    assert answer(*seen, now_ns=NOW + 3 * SECOND) == late
    assert answer(*seen, target="cup", now_ns=NOW + 3 * SECOND) == late
    assert answer(*seen, now_ns=NOW + 3 * SECOND, max_age_s=10.0) == "I see a dog."


def test_invalid_stamp_is_replaced_by_the_arrival_time() -> None:
    for age_s in (NOW / SECOND, -3600.0):
        assert answer(*[make_image(("dog", LEFT), age_s=age_s)] * 2) == "I see a dog."


def test_images_before_the_clock_was_set_back_do_not_count() -> None:
    seen = [make_image(("dog", LEFT))] * 2
    assert answer(*seen, now_ns=NOW - 60 * SECOND).startswith("I have seen no image for")


def test_low_scores_do_not_count() -> None:
    seen = [make_image(("dog", LEFT, 0.9), ("cup", LEFT, 0.3))] * 2
    assert answer(*seen) == "I see a dog."
    assert answer(*seen, min_score=0.2) == "I see a dog and a cup."


def test_classification_describes_the_whole_image() -> None:
    seen = [looks_like("dog")] * 2
    assert answer(*seen) == "This looks like a dog."
    assert answer(*seen, target="dog") == "This looks like a dog."
    assert answer(*seen, target="cup") == "This does not look like a cup."
    assert answer(*[looks_like("dog", 0.2)] * 2) == "I see nothing that I know."


def test_another_model_discards_earlier_results() -> None:
    seen = [make_image(("dog", LEFT))] * 2
    assert answer(*seen, looks_like("cup"), looks_like("cup")) == "This looks like a cup."
    assert (
        answer(*seen, make_image(model="n"), make_image(model="n")) == "I see nothing that I know."
    )


def test_contradicting_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="min_images: 3 is more than max_images, 2"):
        build(SceneSettings, {"max_images": 2, "min_images": 3})


def test_plurals() -> None:
    words = {"cup": "cups", "bus": "buses", "couch": "couches", "toy": "toys", "puppy": "puppies"}
    for name, plural in words.items():
        assert NAMES.with_count(name, 2) == f"two {plural}"


def test_the_shipped_names_are_of_the_shipped_models_labels() -> None:
    config = share_folder() / "config" / "voice"
    names = read_names(config / "scene.yaml")
    labels = (share_folder() / "models" / "nanodet" / "labels.txt").read_text().splitlines()
    assert set(names.by_label) <= set(labels)
    known_names = {names.spoken_name(label) for label in labels}
    assert set(names.plurals) <= known_names
    things = read_grammar(config / "grammar.yaml")
    asked = {s.slots["thing"].value for s in things.sentences() if s.intent == "look" and s.slots}
    # No shipped model has the class box, and the robot says so.
    assert asked - known_names == {"box"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label: {}", "line 1, label: unknown key"),
        ("names: [a]", "names: expected a mapping"),
        ("names: {ball: sports ball}", "names.ball: expected a list of labels, got 'sports ball'"),
        ("names:\n  a: [x]\n  b: [x]", "line 3, names.b: the label 'x' is called 'a' already"),
        ("plurals: {person: 2}", "plurals.person: expected a word, got 2"),
    ],
)
def test_errors_in_a_file_are_reported(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "scene.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_names(file)
    assert str(file) in str(caught.value) and message in str(caught.value)


def test_number_of_objects_is_bounded() -> None:
    count = 3000
    labels = tuple(f"thing {number}" for number in range(count))
    boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1))
    scores, ids = np.full(count, 0.9, np.float32), np.arange(count, dtype=np.int32)
    result = Detections(boxes, scores, ids, labels, 600, 400, "m", NOW)
    scene, settings = Scene(NAMES.spoken_name), build(SceneSettings, {"max_images": 100})
    for _ in range(100):
        scene.add(result, NOW, all_labels=False)
    view = scene.view(NOW, settings)
    assert len(view.seen) == 300
    words = format_answer(view, "", NAMES, settings, TOPIC)
    assert words.endswith("and 288 other things.")
    assert len(words) < 400

"""What was heard of late: bounded, and who is known is not pushed out."""

from __future__ import annotations

from edge_inference.core.runtime.recent import RecentNames

SILENCE = 100


def test_the_last_word_counts_until_its_speaker_falls_silent() -> None:
    recent: RecentNames[str] = RecentNames(4, SILENCE)
    assert recent.known(0) == {}
    recent.hear("a", "one", 0)
    recent.hear("b", "two", 50)
    recent.hear("b", "three", 60)
    assert recent.known(99) == {"a": "one", "b": "three"}
    assert recent.known(100) == {"b": "three"}
    assert recent.known(160) == {}


def test_a_newcomer_waits_for_room() -> None:
    recent: RecentNames[int] = RecentNames(2, SILENCE)
    assert recent.hear("a", 1, 0)
    assert recent.hear("b", 1, 0)
    for number in range(1000):
        assert not recent.hear(f"made up {number}", 1, 50)
    assert recent.hear("b", 2, 60)
    assert recent.known(60) == {"a": 1, "b": 2}
    assert recent.hear("late", 3, 100)  # a has fallen silent
    assert recent.known(100) == {"b": 2, "late": 3}

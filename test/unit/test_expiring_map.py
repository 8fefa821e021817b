"""ExpiringMap: bounded, entries expire, and new names do not displace known ones."""

from __future__ import annotations

from edge_inference.core.runtime.expiring_map import ExpiringMap

TIMEOUT = 100


def test_the_latest_value_is_kept_until_it_expires() -> None:
    entries: ExpiringMap[str] = ExpiringMap(4, TIMEOUT)
    assert entries.current(0) == {}
    entries.put("a", "one", 0)
    entries.put("b", "two", 50)
    entries.put("b", "three", 60)
    assert entries.current(99) == {"a": "one", "b": "three"}
    assert entries.current(100) == {"b": "three"}
    assert entries.current(160) == {}


def test_a_new_name_is_refused_while_the_map_is_full() -> None:
    entries: ExpiringMap[int] = ExpiringMap(2, TIMEOUT)
    assert entries.put("a", 1, 0)
    assert entries.put("b", 1, 0)
    for number in range(1000):
        assert not entries.put(f"invented {number}", 1, 50)
    assert entries.put("b", 2, 60)
    assert entries.current(60) == {"a": 1, "b": 2}
    assert entries.put("late", 3, 100)  # a has expired
    assert entries.current(100) == {"b": 2, "late": 3}

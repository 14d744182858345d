"""Named parts: imported when asked for, listed without importing, added once."""

from __future__ import annotations

import sys

import pytest

from headstart.registry import Registry


def parts() -> Registry[object]:
    return Registry("part", {"one": "wave:Wave_read", "two": 2})


def test_names_are_listed_without_importing() -> None:
    sys.modules.pop("wave", None)
    registry = parts()
    assert list(registry) == ["one", "two"]
    assert "one" in registry
    assert len(registry) == 2
    assert "wave" not in sys.modules


def test_an_entry_is_imported_when_it_is_asked_for() -> None:
    registry = parts()
    import wave

    assert registry["one"] is wave.Wave_read
    assert registry["two"] == 2


def test_a_part_is_added_last_and_only_once() -> None:
    registry = parts()
    assert registry.register("three")(int) is int
    assert list(registry) == ["one", "two", "three"]
    with pytest.raises(ValueError, match="already a part called 'three'"):
        registry.register("three")(float)


def test_an_unknown_name_is_a_key_error_and_has_a_sentence() -> None:
    with pytest.raises(KeyError):
        parts()["tow"]
    assert parts().unknown("tow") == "'tow' is not one of 'one', 'two'; did you mean 'two'?"
    assert parts().unknown("xyz") == "'xyz' is not one of 'one', 'two'"

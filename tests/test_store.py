"""Artifacts are found by what went into them, and are whole or absent."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart import store as store_module
from headstart.store import (
    VERSIONS,
    Entry,
    FinishedStore,
    Store,
    UnfinishedError,
    write_json,
    write_text,
)


def test_key_depends_on_verb_settings_and_inputs_and_not_on_the_label(tmp_path: Path) -> None:
    store = Store(tmp_path)
    source = store.entry("index", "images", {"files": "abc"})
    keys = {
        "base": store.entry("pretrain", "x", {"lr": 0.1, "deep": {"a": [1, 2]}}, [source]).key,
        "setting": store.entry("pretrain", "x", {"lr": 0.2, "deep": {"a": [1, 2]}}, [source]).key,
        "deep": store.entry("pretrain", "x", {"lr": 0.1, "deep": {"a": [2, 1]}}, [source]).key,
        "inputs": store.entry("pretrain", "x", {"lr": 0.1, "deep": {"a": [1, 2]}}).key,
        "verb": store.entry("extract", "x", {"lr": 0.1, "deep": {"a": [1, 2]}}, [source]).key,
    }
    assert len(set(keys.values())) == len(keys)
    named = store.entry("pretrain", "other", {"deep": {"a": [1, 2]}, "lr": 0.1}, [source])
    assert named.key == keys["base"]  # neither the label nor the order of settings
    assert named.folder.name == f"other-{named.key}"
    elsewhere = Store(tmp_path / "elsewhere").entry("index", "images", {"files": "abc"})
    assert elsewhere.key == source.key


def test_order_of_inputs_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    a, b = store.entry("index", "a", {"n": 1}), store.entry("index", "b", {"n": 2})
    forward, back = store.entry("extract", "x", {}, [a, b]), store.entry("extract", "x", {}, [b, a])
    assert forward.key != back.key


def test_raising_a_version_makes_new_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Store(tmp_path).entry("evaluate", "x", {})
    monkeypatch.setitem(store_module.VERSIONS, "evaluate", VERSIONS["evaluate"] + 1)
    assert Store(tmp_path).entry("evaluate", "x", {}).key != before.key


@given(
    a=st.dictionaries(st.text(max_size=4), st.integers() | st.floats() | st.text(max_size=4)),
    b=st.dictionaries(st.text(max_size=4), st.integers() | st.floats() | st.text(max_size=4)),
)
def test_different_settings_never_share_a_key(
    a: dict[str, object], b: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "keys")
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    keys = [store.entry("index", "x", settings).key for settings in (a, b)]
    assert (keys[0] == keys[1]) == same


def test_done_only_after_finish(tmp_path: Path) -> None:
    entry = Store(tmp_path).entry("index", "images", {})
    assert not entry.done
    (entry.folder / "weights").write_text("half")
    assert not entry.done
    entry.finish({"rows": 3}, time.perf_counter() - 2)
    assert entry.done
    assert entry.info == {"rows": 3}
    assert 2 <= entry.seconds < 10


def test_work_that_was_stopped_halfway_is_entered_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def work(fail: bool) -> Entry:
        entry = Store(tmp_path).entry("extract", "x", {"n": 1})
        if not entry.done:
            calls.append(1)
            (entry.folder / "part").write_text("…")
            if fail:
                raise KeyboardInterrupt
            entry.finish({}, time.perf_counter())
        return entry

    with pytest.raises(KeyboardInterrupt):
        work(fail=True)
    work(fail=False)
    work(fail=True)  # finished: not entered a third time
    assert len(calls) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_write_json_refuses_what_json_cannot_say(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": [0.5, {"b": bad}]})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_finish_with_nan_leaves_the_entry_unfinished(tmp_path: Path) -> None:
    entry = Store(tmp_path).entry("index", "images", {})
    with pytest.raises(ValueError, match="JSON compliant"):
        entry.finish({"loss": float("nan")}, time.perf_counter())
    assert not entry.done


def test_a_write_that_dies_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.txt"
    write_text(path, "old")

    def power_cut(*_: object) -> None:
        raise OSError("no power")

    monkeypatch.setattr(os, "replace", power_cut)
    with pytest.raises(OSError, match="no power"):
        write_text(path, "new and longer")
    assert path.read_text() == "old"
    monkeypatch.undo()
    write_text(path, "naïve – 名")
    assert path.read_text(encoding="utf8") == "naïve – 名"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_a_finished_store_finds_what_is_whole_and_makes_nothing(tmp_path: Path) -> None:
    made = Store(tmp_path).entry("index", "images", {"files": "abc"})
    closed = FinishedStore(tmp_path)
    with pytest.raises(UnfinishedError, match="index/images"):
        closed.entry("index", "images", {"files": "abc"})  # begun, not whole
    made.finish({}, time.perf_counter())
    assert closed.entry("index", "images", {"files": "abc"}) == made
    with pytest.raises(UnfinishedError, match="extract/x"):
        closed.entry("extract", "x", {}, [made])
    assert not (tmp_path / "extract").exists()

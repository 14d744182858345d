"""Artifacts are found by what went into them, and are whole or absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart import store as store_module
from headstart.store import (
    CARD,
    VERSIONS,
    Entry,
    FinishedStore,
    Store,
    UnfinishedError,
    locked,
    write_json,
    write_text,
)


def test_a_card_is_no_part_of_an_artifact(tmp_path: Path) -> None:
    """One that is made anew meets the card of before, which is then written again."""
    made = []
    for name, card in (("a", None), ("b", "old")):
        entry = Store(tmp_path / name).entry("pretrain", "x", {})
        write_text(entry.folder / "weights", "1")
        if card:
            write_text(entry.folder / CARD, card)
        entry.finish({}, time.perf_counter())
        write_text(entry.folder / CARD, "new")
        assert entry.fault() is None
        made.append(entry.content)
    assert made[0] == made[1]


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


# --- damage --------------------------------------------------------------------------------------


def made(store: Store, text: str = "weights", info: int = 3) -> tuple[Entry, Entry]:
    """An artifact with files at two depths, and one that is made of it."""
    source = store.entry("index", "images", {})
    if not source.done:
        (source.folder / "deep").mkdir(exist_ok=True)
        (source.folder / "data.bin").write_text(text)
        (source.folder / "deep" / "map.bin").write_bytes(b"\0" * 1000)
        (source.folder / "checkpoint.pt").write_text("of no concern")
        source.finish({"rows": info, "share": 0.1 + 0.2}, time.perf_counter())
    product = store.entry("extract", "x", {}, [source])
    if not product.done:
        (product.folder / "features.bin").write_text(f"made of {text}")
        product.finish({}, time.perf_counter())
    return source, product


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize("name", ["data.bin", "deep/map.bin", "done.json"])
@pytest.mark.parametrize("damage", [flip, cut, Path.unlink], ids=["flip", "cut", "gone"])
def test_damage_is_named_and_what_was_damaged_is_unfinished_again(
    name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    source, product = made(Store(tmp_path))
    damage(source.folder / name)
    told: list[str] = []
    store = Store(tmp_path, told.append)
    again = store.entry("index", "images", {})
    assert not again.done
    if (name, damage) == ("done.json", Path.unlink):  # as if it had never been finished
        assert told == []
    else:
        what = "missing" if damage is Path.unlink else "damaged"
        assert told == [f"index/{source.folder.name}: {name} is {what}; making it anew"]
    assert made(store) == (source, product)  # made again alike: what was made of it still stands
    assert len(told) <= 1


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"key": 1, "info": {}, "files": [], "inputs": {}, "digest": ""}',
        "[" * 9000,
        "\udcff",
    ],
)
def test_a_done_json_of_any_kind_is_only_damaged(content: str, tmp_path: Path) -> None:
    source, _ = made(Store(tmp_path))
    (source.folder / "done.json").write_bytes(content.encode("utf8", "surrogateescape"))
    told: list[str] = []
    assert not Store(tmp_path, told.append).entry("index", "images", {}).done
    assert told[0].endswith("done.json is damaged; making it anew")


@given(data=st.data())
def test_no_change_of_a_done_json_goes_unseen(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any character replaced: seen, unless the values that it spells are the same."""
    source, _ = made(Store(tmp_path_factory.getbasetemp() / "changes"))
    path = source.folder / "done.json"
    whole = path.read_text()
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + data.draw(st.characters(codec="ascii")) + whole[place + 1 :]
    path.write_text(changed)
    try:
        same = json.loads(changed) == json.loads(whole)
    except ValueError:
        same = False
    try:
        assert (source.fault() is None) == same
    finally:
        path.write_text(whole)


def test_names_in_a_done_json_lead_nowhere_else(tmp_path: Path) -> None:
    """Somebody else's run folder may say what it likes: only files of the artifact are opened."""
    outside = tmp_path / "outside"
    outside.write_text("secret")
    source, _ = made(Store(tmp_path / "run"))
    stored = json.loads((source.folder / "done.json").read_text())
    stored["files"] = {"/dev/zero": "", str(outside): store_module.digest(outside)}
    stored.pop("digest")
    stored["digest"] = store_module._hash(stored)
    write_json(source.folder / "done.json", stored)
    assert source.fault() == "/dev/zero is missing"


def test_what_was_made_of_something_else_is_made_anew(tmp_path: Path) -> None:
    """Made again with other bits, as on a GPU: what came of the first is not mixed with it."""
    source, product = made(Store(tmp_path))
    flip(source.folder / "data.bin")
    told: list[str] = []
    made(Store(tmp_path, told.append), text="other weights")
    assert told[1] == (
        f"extract/{product.folder.name}: it was made from another index/{source.folder.name}; "
        "making it anew"
    )
    assert (product.folder / "features.bin").read_text() == "made of other weights"
    told.clear()
    made(Store(tmp_path, told.append))
    assert told == []


def test_an_artifact_is_looked_at_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(Store(tmp_path))
    looks: list[Path] = []
    real = store_module.digest
    monkeypatch.setattr(store_module, "digest", lambda path: (looks.append(path), real(path))[1])
    store = Store(tmp_path)
    for _ in range(3):
        made(store)
    assert sorted(path.name for path in looks) == ["data.bin", "features.bin", "map.bin"]


def test_two_labels_of_one_key_are_two_artifacts(tmp_path: Path) -> None:
    for label in ("a", "b"):
        entry = Store(tmp_path).entry("index", label, {})
        (entry.folder / "data.bin").write_text("whole")
        entry.finish({}, time.perf_counter())
    cut(entry.folder / "data.bin")
    store = Store(tmp_path)
    assert store.entry("index", "a", {}).done
    assert not store.entry("index", "b", {}).done


def test_artifacts_from_before_there_were_checksums_are_made_anew(tmp_path: Path) -> None:
    entry = Store(tmp_path).entry("index", "images", {})
    write_json(entry.folder / "done.json", {"key": entry.key, "info": {}, "seconds": 1.0})
    assert not Store(tmp_path).entry("index", "images", {}).done


# --- one at a time -------------------------------------------------------------------------------


def test_a_second_process_waits_and_says_so_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\nfrom headstart.store import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('locked', flush=True)\n"
        "    time.sleep(600)\n"
    )
    told: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE
    ) as first:

        def tell(line: str) -> None:
            told.append(line)
            first.kill()

        assert first.stdout
        assert first.stdout.readline() == b"locked\n"
        with locked(tmp_path, tell):
            assert len(told) == 1
            assert told[0].startswith(f"{tmp_path}: another run is at work in this folder; waiting")
    with locked(tmp_path, tell):  # free again after an orderly end
        assert len(told) == 1


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    told: list[str] = []
    with locked(tmp_path, told.append):
        assert told == [
            f"{tmp_path}: cannot be locked (No locks available); start no second run in this folder"
        ]


def test_a_folder_that_cannot_be_written_is_not_taken_for_one_without_locks(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OSError, match=r"\.lock"), locked(tmp_path):
        pass


def test_make_works_once_and_keeps_what_the_work_says(tmp_path: Path) -> None:
    entry = Store(tmp_path).entry("index", "images", {})
    calls: list[int] = []

    def work() -> dict[str, int]:
        (entry.folder / "part").write_text("…")
        calls.append(1)
        time.sleep(0.02)
        return {"rows": 3}

    assert entry.make(work).info == {"rows": 3}
    assert 0.02 <= entry.seconds < 10
    assert Store(tmp_path).entry("index", "images", {}).make(work).done
    assert calls == [1]


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

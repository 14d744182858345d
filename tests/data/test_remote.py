"""Shards that lie elsewhere: the same images, each shard fetched once, mistakes in one line."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tiny_study
from headstart.config import StudyError
from headstart.data.batches import Images, Order
from headstart.data.cache import Kept, open_cache
from headstart.data.scan import find_labeled, find_unlabeled
from headstart.data.sources import remote as remote_module
from headstart.data.sources.remote import Copies, address_of
from headstart.layers import build_study, read_study_file
from headstart.stages.index import index

SHARDS, EACH = 4, 6


@dataclass
class Server:
    """A folder on loopback, which counts what is fetched and can fail on purpose."""

    folder: Path
    port: int = 0
    fetched: Counter[str] = field(default_factory=Counter)
    fails: Counter[str] = field(default_factory=Counter)
    """How often the next requests of a file end with an error of the server."""

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(remote_module, "PAUSES", (0.01, 0.01))
    folder = tmp_path / "served"
    folder.mkdir()
    for shard in range(SHARDS):
        with tarfile.open(folder / f"x-{shard}.tar", "w") as archive:
            for i in range(EACH):
                key = f"{shard * EACH + i:03d}"
                add(archive, f"{key}.png", noise(shard * EACH + i))
                add(archive, f"{key}.cls", b"cat" if i % 2 else b"dog")
    serves = Server(folder)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            if serves.fails[name] > 0:
                serves.fails[name] -= 1
                self.send_error(503)
                return
            serves.fetched[name] += 1
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as http:
        serves.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield serves
        http.shutdown()
        thread.join()


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_shards_elsewhere_are_the_shards_here(server: Server, tmp_path: Path) -> None:
    there = Path(server.address("x-{0..3}.tar"))
    here = server.folder / "x-{0..3}.tar"
    for find in (find_labeled, find_unlabeled):
        ours, theirs = find(here), find(there, copies=tmp_path / "copies")
        assert [(f.id, f.label) for f in theirs] == [(f.id, f.label) for f in ours]
        assert [f.read() for f in theirs if f.read] == [f.read() for f in ours if f.read]
        assert [f.shard for f in ours] == [""] * SHARDS * EACH
        assert [f.shard for f in theirs] == [
            server.address(f"x-{n}.tar") for n in range(SHARDS) for _ in range(EACH)
        ]
    assert set(server.fetched.values()) == {1}


def test_a_shard_that_changes_is_fetched_again(server: Server, tmp_path: Path) -> None:
    """Its images have another state, and another content: an old copy is not taken for it."""
    place = Path(server.address("x-0.tar"))
    before = find_unlabeled(place, copies=tmp_path)
    assert [f.state() for f in before] == [
        f.state() for f in find_unlabeled(place, copies=tmp_path)
    ]
    assert server.fetched["x-0.tar"] == 1
    (server.folder / "x-1.tar").replace(server.folder / "x-0.tar")
    with tarfile.open(server.folder / "x-0.tar", "a") as archive:
        add(archive, "more.png", noise(99))
    after = find_unlabeled(place, copies=tmp_path)
    assert not {f.state() for f in before} & {f.state() for f in after}
    assert [f.read() for f in after if f.read] == [noise(n) for n in (*range(EACH, 2 * EACH), 99)]


def test_a_single_tar_and_any_protocol(tmp_path: Path, server: Server) -> None:
    place = Path(f"file://{server.folder}/x-1.tar")
    assert str(place).startswith("file:/")
    assert address_of(place) == f"file://{server.folder}/x-1.tar"
    assert len(find_unlabeled(place, copies=tmp_path)) == EACH


def test_an_epoch_fetches_each_shard_once(server: Server, tmp_path: Path) -> None:
    """With room for two copies, nothing kept of the pixels, and a buffer of one shard."""
    copies = tmp_path / "copies"
    files = find_unlabeled(Path(server.address("x-{0..3}.tar")), copies=copies)
    size = (server.folder / "x-0.tar").stat().st_size
    whole = open_cache(files, 16, tmp_path / "whole")
    cache = open_cache(files, 16, tmp_path / "part", kept=Kept(budget=1))
    for path in copies.rglob("*.tar"):
        path.unlink()
    server.fetched.clear()
    limit = int(3.5 * size)
    for file in files:
        file.read.args[0].func.__self__.most = limit  # type: ignore[union-attr]
    shards = np.repeat(np.arange(SHARDS), EACH)
    order = Order(len(files), 4, seed=0, shards=shards, buffer=3)
    images = Images(cache, np.arange(len(files)), 16, torch.device("cpu"))
    for step in range(order.steps_per_epoch):
        images.expect([order.positions(step)])
        pixels, _ = images.pixels(order.positions(step))
        assert np.array_equal(pixels.numpy(), whole.pixels[order.positions(step)])
        assert sum(p.stat().st_size for p in copies.rglob("*.tar")) <= limit
    assert server.fetched == {f"x-{n}.tar": 1 for n in range(SHARDS)}


def test_the_copy_that_was_not_used_for_longest_goes_first(server: Server, tmp_path: Path) -> None:
    size = max(path.stat().st_size for path in server.folder.glob("*.tar"))
    copies = Copies(tmp_path, most=2 * size)
    for number in (0, 1, 0, 2):
        copies.open(server.address(f"x-{number}.tar"), 0).close()
        time.sleep(0.02)  # times of files are that coarse
    assert len(list(tmp_path.glob("*.tar"))) == 2
    for number in (0, 2):
        copies.open(server.address(f"x-{number}.tar"), 0).close()
    assert server.fetched == {f"x-{n}.tar": 1 for n in range(3)}
    assert not list(tmp_path.glob("*.part"))


def test_a_server_that_fails_for_a_moment_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.fails["x-0.tar"] = 2
    with Copies(tmp_path).open(server.address("x-0.tar"), 0) as file:
        assert file.read() == (server.folder / "x-0.tar").read_bytes()


def test_threads_that_want_one_shard_fetch_it_once(server: Server, tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    threads = [
        threading.Thread(target=lambda: copies.open(server.address("x-0.tar"), 0).close())
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.fetched == {"x-0.tar": 1}


# --- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("y-0.tar", "/y-0.tar: no such file"),
        ("photos", "only .tar files are read from there"),
        ("x-{3..0}.tar", "a range goes up"),
    ],
)
def test_a_mistake_is_one_line(name: str, told: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(StudyError) as caught:
        find_unlabeled(Path(server.address(name)), copies=tmp_path)
    assert str(caught.value).startswith("--unlabeled http:/")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("nothing://bucket/x.tar", "Protocol not known"),
        ("hdfs://bucket/x.tar", "cannot be fetched"),
        ("http://127.0.0.1:9/x.tar", "run again to go on"),
    ],
    ids=["unknown", "needs a package", "nobody there"],
)
def test_what_cannot_be_reached_is_one_line(
    address: str, told: str, tmp_path: Path, server: Server
) -> None:
    with pytest.raises(StudyError, match=told) as caught:
        find_labeled(Path(address), copies=tmp_path)
    assert str(caught.value).startswith(f"--labeled {address}")


def test_a_server_that_stays_away_quarantines_no_image(server: Server, tmp_path: Path) -> None:
    """An image that could not be fetched is not an unreadable one: the run waits to be repeated."""
    files = find_unlabeled(Path(server.address("x-{0..3}.tar")), copies=tmp_path / "copies")
    for path in (tmp_path / "copies").rglob("*.tar"):
        path.unlink()
    server.fails["x-2.tar"] = 10**6
    with pytest.raises(StudyError, match=r"x-2\.tar: cannot be fetched .* run again to go on"):
        open_cache(files, 16, tmp_path / "cache")
    server.fails.clear()
    assert not any(open_cache(files, 16, tmp_path / "cache").reasons)


# --- a study -----------------------------------------------------------------------------------


def test_a_study_file_names_an_address(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("data: {unlabeled: 's3://bucket/x-{0..3}.tar', labeled: photos}")
    data = build_study([("file", read_study_file(path))]).data
    assert address_of(data.unlabeled or Path()) == "s3://bucket/x-{0..3}.tar"
    assert data.labeled == tmp_path / "photos"


def test_the_index_knows_which_images_come_together(
    server: Server, bags: Path, tmp_path: Path
) -> None:
    data = {"unlabeled": server.address("x-{0..3}.tar"), "cache": str(tmp_path / "cache")}
    run = tiny_study.open_run(tiny_study.study(bags, data=data, only=["simclr"]), tmp_path / "run")
    indexed = index(run)
    shards = indexed.shards_of(indexed.index.where("pool", "train"))
    assert shards is not None
    splits = indexed.index.splits[indexed.index.where("pool", "train")]
    assert Counter(shards[splits == "pool"].tolist()) == dict.fromkeys(range(SHARDS), EACH)
    assert set(shards[splits == "train"].tolist()) == {-1}
    assert list((tmp_path / "cache" / "shards").glob("*.tar"))

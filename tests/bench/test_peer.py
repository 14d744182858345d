from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from headstart.bench.peer import Peer, check_peer
from headstart.config import StudyError
from headstart.methods import METHODS
from headstart.nn.encoder import build_encoder
from headstart.registry import load

pytest.importorskip("lightly")


@pytest.fixture
def workers() -> Iterator[list[Peer]]:
    open_peers: list[Peer] = []
    yield open_peers
    for peer in open_peers:
        peer.close()


def state_of(pid: int) -> str:
    """R, S, D or T (stopped) of a process, as Linux tells it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].peer])
def test_the_documented_loop_trains_every_weight_that_it_should(method: str) -> None:
    encoder = build_encoder("test_resnet", image_size=32)
    model = load(METHODS[method].peer or "")(encoder.body, encoder.num_features).train()
    loss = model.loss(torch.rand(8, 3, 32, 32), torch.rand(8, 3, 32, 32))
    loss.backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None) == ("momentum" not in name), name


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads
def test_workers_rest_while_others_are_timed(bags: Path, workers: list[Peer]) -> None:
    encoder = build_encoder("test_resnet", image_size=32)
    before = [p.detach().clone() for p in encoder.parameters()]
    peer = Peer("simclr", encoder, bags / "unlabeled", 32, 16)
    workers.append(peer)
    peer.run(1)
    pids = [worker.pid for worker in peer.batches._workers]  # type: ignore[attr-defined]
    assert pids
    deadline = time.monotonic() + 20  # a signal to another processor takes its moment
    while {state_of(pid) for pid in pids} != {"T"} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {state_of(pid) for pid in pids} == {"T"}
    peer.run(1)  # they wake up again
    trained = list(peer.model.backbone.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, trained, strict=True))
    # The encoder that others use is left alone.
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))


def test_a_peer_that_is_unknown_or_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StudyError, match="--peer solo: the known peer is lightly"):
        check_peer("solo", "simclr")
    monkeypatch.setattr("headstart.bench.peer.find_spec", lambda name: None)
    with pytest.raises(StudyError, match="pip install lightly"):
        check_peer("lightly", "simclr")


def test_a_method_without_a_peer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS["byol"], "peer", None)
    with pytest.raises(StudyError, match="--peer lightly: it has no BYOL to time"):
        check_peer("lightly", "byol")

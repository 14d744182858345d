"""A small study, killed again and again until it is done: does it end as if nothing had been?

``python tests/kill_harness.py --kills 30`` runs the study once in peace, then kills it at seeded
random times and starts it again until it finishes, in as many folders as it takes. Printed is one
JSON object: how many kills landed where, and every difference from the run in peace (there should
be none). With ``--aim index,checkpoint`` each kill waits for the named place instead.

The process that is killed is a fork of one that has imported everything, so that kills land in a
study and not in imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch

import tiny_study
from headstart import engine, interrupt, pipeline, store
from headstart.config import Study
from headstart.data.synthetic import BagsSpec, generate
from headstart.pipeline import run_study
from headstart.stages import index as index_stage

STAGES = (
    *("index", "start", "pretrain", "extract", "classify", "evaluate", "review_lookalikes"),
    *("explain", "check_gates", "compare", "report"),
)
PLACES = (*STAGES, "checkpoint", "finish", "reading images")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)  # three in four


def study(bags: Path, home: Path) -> Study:
    """Every stage, two methods, some seconds in all; checkpoints every twentieth of a second."""
    asked = tiny_study.study(
        bags,
        only=["simclr", "moco"],
        encoder={"image_size": 16},
        pretrain={"epochs": 5, "batch_size": 16, "checkpoint_minutes": 0.05 / 60},
        explain={"images": 4, "pictures": 2},
        compare={"replicates": 100},
    )
    data = asked.data.model_copy(update={"cache": home / "cache"})
    return asked.model_copy(update={"data": data})


def draw(folder: Path) -> Path:
    spec = BagsSpec(pool=60, train_per_class=4, validation_per_class=2, test_per_class=3, size=32)
    return generate(folder / "bags", spec)


MOST = 6  # kills of one study: it starts with its images, and should come to its end


# --- one process, and where it is ----------------------------------------------------------------


@dataclass
class Child:
    """A forked study that says where it is; ``place`` is the innermost of what it entered."""

    bags: Path
    home: Path
    entered: list[str] = field(default_factory=list)
    rest: str = ""

    def __post_init__(self) -> None:
        self.said, say = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self.said)
            self._run(say)
        os.close(say)

    def _run(self, say: int) -> NoReturn:
        os.dup2(os.open(self.home / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        code = 70
        sys.addaudithook(_no_network)
        try:
            _watch(lambda word: os.write(say, f"{word}\n".encode()))
            with interrupt.listening():
                run_study(study(self.bags, self.home), self.home / "run")
            code = 0
        except interrupt.Interrupted as end:
            code = 128 + end.number
        finally:
            if code == 70:
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            os._exit(code)

    def listen(self, until: float, aim: str | None = None) -> bool:
        """Follow it until a time, its end, or the place aimed at; False where it has ended."""
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.said], [], [], left)[0]:
                break
            words = os.read(self.said, 65536).decode()
            if not words:
                return False
            *lines, self.rest = (self.rest + words).split("\n")
            for line in lines:
                self._follow(line)
                if line == f"+{aim}":
                    return True
        return True

    def _follow(self, line: str) -> None:
        if line.startswith("+"):
            self.entered.append(line[1:])
        elif self.entered:
            self.entered.pop()

    @property
    def place(self) -> str:
        if not self.entered:
            return "opening"
        return self.entered[-1]

    def end(self, number: int | None = None) -> int:
        """Kill it where a signal is given; wait for it; its exit code, or minus the signal."""
        if number is not None:
            os.kill(self.pid, number)
        there = list(self.entered)
        while self.listen(time.monotonic() + 120):
            pass
        if number == signal.SIGTERM:  # what it left since then, it left because of the signal
            self.entered = there
        os.close(self.said)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _no_network(event: str, _: tuple[Any, ...]) -> None:
    """No study asks anybody for anything."""
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto"):
        raise OSError(f"the study went for the network: {event}")


def _watch(say: Callable[[str], Any]) -> None:
    """Make the stages, checkpoints and finished artifacts of this process say their names."""

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **more: Any) -> Any:
            say(f"+{name}")
            try:
                return function(*arguments, **more)
            finally:
                say(f"-{name}")

        return inner

    for stage in STAGES:
        setattr(pipeline, stage, noted(stage, getattr(pipeline, stage)))
    engine.save_state = noted("checkpoint", engine.save_state)
    index_stage.open_cache = noted("reading images", index_stage.open_cache)  # type: ignore[attr-defined]
    store.Entry.finish = noted("finish", store.Entry.finish)  # type: ignore[method-assign]


# --- many, until it is done ----------------------------------------------------------------------


@dataclass
class Told:
    """What came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(self.kills.values())


def findings(home: Path) -> dict[str, Any]:
    """All that a study left behind but times: results, predictions, and every artifact's hashes."""
    run = home / "run"
    results = json.loads((run / "results.json").read_text(encoding="utf8"))
    results.pop("provenance")
    results["study"]["data"].pop("cache")
    return {
        "results": results,
        "predictions": (run / "predictions.csv").read_text(encoding="utf8"),
        "artifacts": {
            path.parent.relative_to(run).as_posix(): _content(path)
            for path in sorted(run.glob("*/*/done.json"))
        },
        "left over": [path.name for path in run.rglob("*checkpoint*")],
    }


def _content(done: Path) -> Any:
    stored = json.loads(done.read_text(encoding="utf8"))
    return {name: stored[name] for name in ("files", "info", "inputs")}


def finished_work(home: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in home.glob("run/*/*/done.json")}


def kill_until_done(
    bags: Path, home: Path, plan: Iterator[tuple[str | None, float, int]], told: Told, kills: int
) -> None:
    """One study: killed as planned until it ends, or until there were enough kills."""
    home.mkdir()
    told.studies += 1
    kept: dict[str, int] = {}
    before = told.count
    while True:
        child = Child(bags, home)
        spared = told.count >= kills or told.count - before >= MOST
        aim, delay, number = (None, 600.0, signal.SIGKILL) if spared else next(plan)
        alive = child.listen(time.monotonic() + 600, aim) if aim else True
        alive = alive and child.listen(time.monotonic() + delay)
        code = child.end(number if alive else None)
        if not kept.items() <= finished_work(home).items():
            told.faults.append(f"{home.name}: something finished was made again")
        kept = finished_work(home)
        if code == 0:
            return
        told.kills[child.place] += 1
        told.signals[signal.Signals(number).name] += 1
        if code not in (-signal.SIGKILL, 128 + number):
            told.faults.append(f"{home.name}: ended with {code}, see {home / 'log.txt'}")
            return


def _random_plan(rng: random.Random, span: float) -> Iterator[tuple[str | None, float, int]]:
    """At any time of a study, and every other time at any time after some place was reached."""
    while True:
        yield None, rng.uniform(0, span), rng.choice(SIGNALS)
        yield rng.choice(PLACES), rng.expovariate(8 / span), rng.choice(SIGNALS)


def _aimed_plan(rng: random.Random, aims: list[str]) -> Iterator[tuple[str | None, float, int]]:
    for aim in aims:
        yield aim, rng.uniform(0, 0.03), signal.SIGKILL


@contextmanager
def _preloaded() -> Iterator[None]:
    """Import what the stages import late, so that no child has to."""
    import altair  # noqa: F401
    import captum.attr  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import timm  # noqa: F401
    import vl_convert  # noqa: F401

    torch.set_num_threads(1)
    yield


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--aim", help="places with commas; one kill for each, in this order")
    asked = parser.parse_args(arguments)
    rng, told = random.Random(asked.seed), Told()
    begun = time.monotonic()
    with _preloaded(), tempfile.TemporaryDirectory(prefix="kills-") as folder:
        bags, peace = draw(Path(folder)), Path(folder) / "peace"
        peace.mkdir()
        start = time.monotonic()
        if Child(bags, peace).end() != 0:
            raise SystemExit((peace / "log.txt").read_text())
        span = time.monotonic() - start
        wanted = findings(peace)
        aims = asked.aim.split(",") if asked.aim else []
        kills = len(aims) or asked.kills
        plan = _aimed_plan(rng, aims) if aims else _random_plan(rng, span / 2)
        while told.count < kills and not told.faults:
            home = Path(folder) / f"killed-{told.studies}"
            kill_until_done(bags, home, plan, told, kills)
            told.faults += [] if told.faults else differences(wanted, findings(home), home.name)
        logs = [path.read_text() for path in Path(folder).glob("killed-*/log.txt")]
    report = {
        "kills": told.count,
        "where": dict(told.kills.most_common()),
        "signals": dict(told.signals),
        "studies": told.studies,
        "faults": told.faults,
        "seconds in peace": round(span, 1),
        "seconds in all": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(report))
    if told.faults:
        print("\n".join(filter(None, logs))[-4000:], file=sys.stderr)
    return int(bool(told.faults))


def differences(wanted: dict[str, Any], got: dict[str, Any], name: str) -> list[str]:
    """What is not as it was in peace, to the last bit."""
    return [f"{name}: other {what}" for what in wanted if got[what] != wanted[what]]


if __name__ == "__main__":
    sys.exit(main())

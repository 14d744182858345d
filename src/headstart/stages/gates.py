"""gates: the artifacts of a run -> ten checks of the comparison itself.

This module reads the stored index, predictions, trials, histories and networks; ``stats.gates``
decides what passes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import product
from typing import Any

import numpy as np
import torch

from headstart.arms import BASELINE, COMPARED, MAJORITY, PROTOCOLS, UNTRAINED, Arm, Origin, Role
from headstart.data.batches import Order
from headstart.data.splits import LabelBudget, label_budget, stratified_sample
from headstart.nn.optim import lr_factor, peak_lr
from headstart.recipes import resolve_recipe
from headstart.reporting.words import plural
from headstart.runtime.heads import fit_probes
from headstart.runtime.networks import load_network, outputs
from headstart.runtime.run import Cell, Dataset, Grid, Run
from headstart.stats import gates as judging
from headstart.stats.collapse import STOPS
from headstart.stats.gates import NOT_RUN, Gate, GateResult
from headstart.store import Entry
from headstart.types import Features, Floats, Ints, Predictions

BATCH_IMAGES = 256
SHUFFLED_STRENGTH = 1e-3  # weak, so that the head can memorise what it was trained on


def check_gates(run: Run, data: Dataset, grid: Grid) -> list[Gate]:
    """All ten gates; those about single networks on the first seed at the largest label count."""
    inputs = [data.entry, *grid.encoders.values(), *grid.evaluated.values()]
    entry = run.store.entry("gates", "all", {"stopped": len(grid.stopped)}, inputs)
    entry.make(lambda: {"gates": [asdict(row) for row in _all(run, data, grid)]})
    return [Gate(**row) for row in entry.info["gates"]]


def _all(run: Run, data: Dataset, grid: Grid) -> Iterator[Gate]:
    yield Gate.of("G1", None, _disjoint(run, data))
    yield from _rows("G2", _batches(run, data, grid))
    yield from _rows("G3", _preprocessing(grid))
    yield from _rows("G4", _starts(run, grid))
    yield from _rows("G5", _tuning(grid))
    yield from _rows("G6", _learning_rates(run, data, grid))
    yield from _rows("G7", _collapses(grid))
    yield from _rows("G8", _chance(grid))
    yield Gate.of("G9", None, _shuffled(run, data, grid))
    yield from _converged(run, grid)


def _rows(gate: str, results: Mapping[str, GateResult]) -> Iterator[Gate]:
    """One row per arm, or one that says why there is none."""
    for arm, answer in results.items():
        yield Gate.of(gate, arm, answer)
    if not results:
        yield Gate.of(gate, None, GateResult(NOT_RUN, "no arm of this study can be asked"))


def _disjoint(run: Run, data: Dataset) -> GateResult:
    """G1 by two keys: the digests of the decoded files, and the groups of the index."""
    index, joins = data.index, run.study.data.train_joins_pool
    budgets = _budgets(run, data)
    parts = {
        "the pool": data.pool(joins),
        "training": np.unique(np.concatenate([b.train for b in budgets])),
        "validation": np.unique(np.concatenate([b.validation for b in budgets])),
    }
    test = index.where("test")
    digests = np.array(data.cache.digests, dtype=np.bytes_)[index.rows]  # a quarter of text's
    results = [
        judging.disjoint(key[test], {name: key[part] for name, part in parts.items()})
        for key in (index.groups, digests, index.ids)
    ]
    return next((one for one in results if one.result == judging.FAIL), results[0])


def _budgets(run: Run, data: Dataset) -> list[LabelBudget]:
    study = run.study
    which = product(study.label_fractions, study.seeds, range(study.label_draws))
    return [label_budget(data.index, *drawn) for drawn in which]


def _first(run: Run, grid: Grid) -> list[Cell]:
    """The cells of the first seed at the largest label fraction that are networks."""
    where = min(run.study.seeds), max(run.study.label_fractions), 0
    networks = [cell for cell in grid.evaluated if PROTOCOLS[cell.protocol].network]
    return [cell for cell in networks if (cell.seed, cell.fraction, cell.draw) == where]


def _batches(run: Run, data: Dataset, grid: Grid) -> dict[str, GateResult]:
    """G2: the stored logits of up to 256 test images against the same images batched otherwise."""
    test = data.index.where("test")
    labels = data.index.labels[test]
    chosen = np.random.default_rng(0).permutation(stratified_sample(labels, BATCH_IMAGES, seed=0))
    results = {}
    for cell in _first(run, grid):
        encoder, classifier = grid.classifiers[cell]
        judged = Predictions.load(grid.evaluated[cell].folder).logits[chosen]
        network = load_network(run, data, cell, classifier, encoder)
        try:
            again = _asked_again(network, data, test[chosen])
        except ValueError as error:  # BatchNorm that cannot take one image is still training
            results[str(cell.arm)] = GateResult(
                judging.FAIL, f"an image cannot be scored by itself: {error}"
            )
        else:
            results[str(cell.arm)] = judging.batch_invariant(judged, again)
    return results


def _asked_again(network: torch.nn.Module, data: Dataset, test: Ints) -> dict[str, Floats]:
    """Logits of the images ``test`` (n,) in eights sorted by class, in 64s, and 32 one by one."""
    by_class = np.argsort(data.index.labels[test], kind="stable")
    in_eights = np.empty((len(test), len(data.index.classes)), np.float32)
    in_eights[by_class] = outputs(network, data.images(test[by_class]), batch=8).numpy()
    return {
        "batches of 8 sorted by class": in_eights,
        "shuffled batches of 64": outputs(network, data.images(test), batch=64).numpy(),
        "one image at a time": outputs(network, data.images(test[:32]), batch=1).numpy(),
    }


def _preprocessing(grid: Grid) -> dict[str, GateResult]:
    """G3: what each arm's evaluation recorded of its images."""
    seen = {str(c.arm): e.info.get("preprocessing") for c, e in grid.evaluated.items()}
    return judging.same({arm: v for arm, v in seen.items() if v}, "transform")


def _starts(run: Run, grid: Grid) -> dict[str, GateResult]:
    """G4: the weights each training began with, by seed; random controls have their own.

    Arms are compared with those that are meant to start alike: from nothing, or from the same
    further weights.
    """
    by_method = _begun_with(grid)
    results: dict[str, GateResult] = {}
    for seed in run.study.seeds:
        alike: dict[str, dict[str, str]] = defaultdict(dict)
        for method, seeds in by_method.items():
            if seed in seeds:
                alike[Origin.parse(method).start][method] = seeds[seed]
        for name, starts in alike.items():
            reference = str(Origin.of_weights(name)) if name else BASELINE.method
            first = dict(sorted(starts.items(), key=lambda item: item[0] != reference))
            what = f"weights of {name} (seed {seed})" if name else f"weights of seed {seed}"
            for method, answer in judging.same(first, what).items():
                _keep_worst(results, method, answer)
    return results


def _begun_with(grid: Grid) -> dict[str, dict[int, str]]:
    """Hashes of the weights that trainings began with, by method and seed.

    For further weights themselves it is what fine-tuning began with, or, where nothing is
    fine-tuned, what was read from the file.
    """
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for (method, seed), entry in grid.encoders.items():
        if "history" in entry.info or Origin.parse(method).given:
            found[method][seed] = entry.info["start"]
    for cell, (_, classifier) in grid.classifiers.items():
        begins = cell.arm == BASELINE or cell.arm.role is Role.GIVEN
        if begins and "start" in classifier.info:
            found[cell.method][cell.seed] = classifier.info["start"]
    return found


def _tuning(grid: Grid) -> dict[str, GateResult]:
    """G5: the labels spent and the settings tried, within the arms trained in the same way."""
    families: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for cell, (_, entry) in grid.classifiers.items():
        family = "finetune" if PROTOCOLS[cell.protocol].trained else cell.protocol
        if family in COMPARED:
            families[family][str(cell.arm)].append(
                (cell.fraction, (cell.seed, cell.draw), _tried(entry))
            )
    results: dict[str, GateResult] = {}
    for arms in families.values():
        budgets = {arm: _by_cells(arms, cells) for arm, cells in arms.items()}
        results |= judging.same(budgets, "tuning")
    return results


def _tried(entry: Entry) -> tuple[int, int, str]:
    """Labels, base trials, and the settings of these and of what follows, without what came of it.

    How many trials the procedure adds depends on the arm: it is the same procedure all the same.
    """
    info = entry.info
    trials = info.get("trials", [])[: info.get("base_trials")]
    kept = ("lr", "weight_decay", "augmentation", "length", "strength")
    inputs = [{k: t[k] for k in kept if k in t} for t in trials]
    settings = sorted(info.get("procedure", {}).items())
    return info["labels"], len(trials), repr([sorted(map(repr, inputs)), settings])


def _by_cells(arms: Mapping[str, list[Any]], cells: list[Any]) -> str:
    """A budget in words, and its hash: only over cells that every arm of the family has."""
    common = set.intersection(*({(f, s) for f, s, _ in tuned} for tuned in arms.values()))
    kept = sorted(cell for cell in cells if cell[:2] in common)
    budgets = {(f, labels, trials) for f, _, (labels, trials, _) in kept}
    words = [f"{plural(n, 'base trial')} on {labels} labels" for _, labels, n in sorted(budgets)]
    return f"{', '.join(words)} ({_hash(kept)})"


def _hash(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def _learning_rates(run: Run, data: Dataset, grid: Grid) -> dict[str, GateResult]:
    """G6: every pretraining's readings against its recipe's schedule."""
    results: dict[str, GateResult] = {}
    for (method, _), entry in grid.encoders.items():
        if "history" not in entry.info:
            continue
        _keep_worst(results, method, _learning_rate(run, data, entry.info))
    return results


def _keep_worst(results: dict[str, GateResult], arm: str, answer: GateResult) -> None:
    """Of several seeds' answers keep the first failure, else the last answer."""
    if arm not in results or results[arm].result != judging.FAIL:
        results[arm] = answer


def _learning_rate(run: Run, data: Dataset, info: Mapping[str, Any]) -> GateResult:
    settings = run.study.pretrain
    pool = len(data.pool(run.study.data.train_joins_pool))
    order = Order(pool, settings.batch_size, info["seed"], settings.drop_last)
    recipe = resolve_recipe(run.study, Origin.parse(info["method"]).method)
    optim, per_epoch = recipe.optim, order.steps_per_epoch
    steps, peak = settings.epochs * per_epoch, peak_lr(optim, min(settings.batch_size, pool))
    # A reading after step t tells the rate that step t − 1 was taken with, counted from 0.
    read = [(m["step"] - 1, m["lr"]) for m in info["history"] if m["lr"] is not None]
    meant = [peak * lr_factor(optim, step, steps, per_epoch) for step, _ in read]
    return judging.learning_rate(
        [lr for _, lr in read],
        meant,
        cosine=optim.schedule == "cosine",
        finished=bool(read) and read[-1][0] + 1 == steps,
        # A cosine that moves only at epochs has its last epoch still to go.
        final_share=max(judging.FINAL_SHARE, lr_factor(optim, steps - 1, steps, per_epoch)),
    )


def _collapses(grid: Grid) -> dict[str, GateResult]:
    """G7: how each pretraining ended, and what it was warned of and went on."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for (method, _), entry in grid.encoders.items():
        if "history" in entry.info:
            runs[method].append(entry.info)
    results = {}
    for method, infos in runs.items():
        lost = {i["seed"]: str(i["reason"]) for i in infos if i["status"] != "ok"}
        ignored = {
            i["seed"]: line
            for i in infos
            for line in i["warnings"]
            if i["status"] == "ok" and line.partition(":")[0] in STOPS
        }
        healthy = [i["seed"] for i in infos if i["seed"] not in {**lost, **ignored}]
        results[method] = judging.collapse(healthy, lost, ignored)
    return results


def _chance(grid: Grid) -> dict[str, GateResult]:
    """G8: every arm that was trained; random weights and the constant answer are there to lose."""
    beats: dict[str, dict[float, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for cell, entry in grid.evaluated.items():
        if cell.arm != MAJORITY and cell.method != UNTRAINED.method:
            beats[str(cell.arm)][cell.fraction].append(entry.info["chance"]["beats_chance"])
    return {arm: judging.beats_chance(by_fraction) for arm, by_fraction in beats.items()}


def _shuffled(run: Run, data: Dataset, grid: Grid) -> GateResult:
    """G9: linear heads as ``classify`` fits them, on labels shuffled over groups of images.

    Images of one group keep one label between them, so that a copy of a test image among the
    training images gives its label away; of each group one test image is asked.
    """
    answers: dict[str, Ints] = {}
    y = np.empty(0, np.int64)
    for cell in _first(run, grid):
        if cell.protocol != "linear":
            continue
        features = Features.load(grid.features[cell.method, cell.seed].folder)
        shuffled, asked = _shuffle(data, features)
        budget = data.budget(cell)
        path = fit_probes(data, shuffled, [budget], [SHUFFLED_STRENGTH])[0]
        logits = path.logits(torch.from_numpy(features.x[asked]))[0]
        answers[cell.arm.label] = logits.argmax(dim=1).cpu().numpy().astype(np.int64)
        y = shuffled.y[asked]
    return judging.label_shuffle(y, answers, len(data.index.classes))


def _shuffle(data: Dataset, features: Features) -> tuple[Features, Ints]:
    """The features with labels shuffled over groups, and the rows of one test image a group."""
    index = data.index
    place = {identity: i for i, identity in enumerate(index.ids.tolist())}
    at = np.array([place[identity] for identity in features.ids.tolist()], dtype=np.int64)
    _, first, group = np.unique(index.groups[at], return_index=True, return_inverse=True)
    labels = np.random.default_rng([0, 9]).permutation(features.y[first])
    tested = np.flatnonzero(index.splits[at] == "test")
    _, one = np.unique(group[tested], return_index=True)
    return Features(features.ids, features.x, labels[group]), tested[np.sort(one)]


def _converged(run: Run, grid: Grid) -> Iterator[Gate]:
    """G10: every arm that is trained end to end, at each label fraction."""
    found: dict[tuple[Arm, float], dict[int, bool]] = defaultdict(dict)
    for cell in grid.evaluated:
        if PROTOCOLS[cell.protocol].trained:
            chosen = grid.classifiers[cell][1].info["chosen"]
            drawn = found[cell.arm, cell.fraction]
            drawn[cell.seed] = drawn.get(cell.seed, True) and chosen["converged"]
    cap = run.study.classify.finetune.max_lengthening
    for (arm, fraction), seeds in found.items():
        what = f"{arm.label} with {100 * fraction:.3g} % of the labels"
        yield Gate.of("G10", str(arm), judging.converged(seeds, what, cap), fraction)
    if not found:
        yield Gate.of("G10", None, GateResult(NOT_RUN, "no arm is trained end to end"))
